package storetest

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"

	"github.com/hipflask/session"
	"github.com/hipflask/session/store"
)

var dataPromises = []clause{{
	name: "P9LargestSession", twoOpens: true,
	rule: "a session of exactly MaxBytes is kept whole; one byte more is the request's failure, and " +
		"leaves the session as it was: a store that cuts off long data without an error ends the session.",
	run: largestSession,
}, {
	name: "P10BadRecordIsOneSession", twoOpens: true,
	rule: "a record that can't be decoded counts as ended, is reported once, and stands in nobody's " +
		"way: the user can log in at once, and no other session is touched.",
	run: badRecordIsOneSession,
}}

// lastMade returns the record that was created last.
func (p *probe) lastMade(s store.Store) store.Record {
	p.mu.Lock()
	key := p.made[len(p.made)-1].key
	p.mu.Unlock()
	rec, err := s.Load(p.ctx, key)
	p.ok(err, "Load of a session's record")
	return rec
}

func largestSession(p *probe, a, b store.Store) {
	st := p.site(a, b)
	defer st.close()
	text := session.Key[string]("text")
	overhead := len(`{"text":""}`)
	fill := func(n int) string {
		return strings.Repeat("0123456789abcdef", n/16+1)[:n]
	}
	user := st.browser()
	user.do(st.servers[0], func(s *session.Session) { text.Set(s, "short") })
	for _, step := range []struct {
		bytes, code int
		holds       string
	}{
		{p.cfg.maxData + 1, http.StatusInternalServerError, "short"},
		{p.cfg.maxData, http.StatusOK, fill(p.cfg.maxData - overhead)},
		{p.cfg.maxData + 1, http.StatusInternalServerError, fill(p.cfg.maxData - overhead)},
		{2 * p.cfg.maxData, http.StatusInternalServerError, fill(p.cfg.maxData - overhead)},
		{overhead, http.StatusOK, ""},
	} {
		v := user.start(st.servers[0], func(_ *visit, s *session.Session) {
			text.Set(s, fill(step.bytes-overhead))
		}).finish()
		v.code(step.code, fmt.Sprintf("a session of %d bytes, of at most %d", step.bytes, p.cfg.maxData))
		v.silent("a change of a stored session")
		for _, m := range st.servers {
			user.do(m, func(s *session.Session) {
				if got, _ := text.Get(s); got != step.holds {
					p.Errorf("a session of %d bytes: got %s, want %s", step.bytes, brief([]byte(got)),
						brief([]byte(step.holds)))
				}
			})
		}
	}
}

// undecodable are no documents of the JSON serializer.
var undecodable = [][]byte{[]byte("{"), []byte(`{"n":1`), []byte("[1]"), []byte("null"), []byte("\x80\x04\x95"),
	{0}, bytes.Repeat([]byte("{"), 5000)}

func badRecordIsOneSession(p *probe, a, b store.Store) {
	for i, data := range undecodable {
		st := p.site(a, b)
		principal := newRecord().Principal
		user, other := st.browser(), st.browser()
		other.do(st.servers[0], func(s *session.Session) { s.Login(principal); set(s, "n", 2) })
		user.do(st.servers[0], func(s *session.Session) { set(s, "n", 1) })
		writing := user.start(st.servers[1], func(v *visit, s *session.Session) {
			v.pause()
			set(s, "late", 1)
		})
		rec := p.lastMade(b)
		bad := changed(rec)
		bad.Data = data
		p.replace(b, bad, rec.Version)

		what := fmt.Sprintf("a record that holds %s", brief(data))
		nothing := content{values: map[string]int{}}
		if i%2 == 0 { // the first to see it saves, else it loads
			user.holding(nothing, what)
		}
		writing.finish().code(http.StatusOK, what+": a request that began before")
		writing.silent(what + ": a request that began before")
		user.holding(nothing, what)
		if n := st.counted(session.EventUndecodable); n != 1 {
			p.Errorf("%s: reported %d times, want once", what, n)
		}
		user.do(st.servers[2], func(s *session.Session) { s.Login(principal); set(s, "n", 3) })
		user.holding(content{principal, map[string]int{"n": 3}}, what+", after a login")
		other.holding(content{principal, map[string]int{"n": 2}}, what+", of somebody else")
		st.close()
	}
}
