package interleave

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/hipflask/session"
)

// life is what a request does to the session as a whole.
type life uint8

const (
	keep life = iota
	login
	renew
	elevate
	logout
	revokeAll    // no HTTP request, but an administrator's call
	revokeOthers // for a changed password
)

// spec is what one request does.
type spec struct {
	name              string
	set, update, take bool
	attribute         bool // of the session itself
	flag, unflag      bool // set, or remove, a value that was there at the start
	life              life
	principal         uint8 // of login and revokeAll: 1 is A, 2 is B
	save              bool  // Save between the update and the set
	leave             bool  // Logout before anything else
	clear             bool  // Clear before anything else
	tail              bool  // the update is made after the first byte of the response
	bare              bool  // sent without a cookie
	elsewhere         bool  // from another browser, without a cookie
	clock             int   // of the server, of a login in a scenario with a limit: milliseconds ahead
	after             int   // sent when the response of request after-1 has arrived
}

func (s *spec) ends() bool { return s.life == logout || s.leave }

// shareable reports whether the request has a save that changes values alone.
func (s *spec) shareable() bool { return s.set || s.update || s.attribute || s.flag || s.unflag }

// hard reports whether the request retires the ID that it came with.
func (s *spec) hard() bool { return s.life == elevate || s.life == revokeOthers }

// moves reports whether the request gives the session a new ID and keeps all else.
func (s *spec) moves() bool { return s.life == renew || s.hard() }

func (s *spec) revokes() bool { return s.life == revokeAll || s.life == revokeOthers }

var principals = [...]string{"", "A", "B"}

func principalIndex(name string) uint8 { return uint8(slices.Index(principals[:], name)) }

// The session's values. Each request sets a key of its own, and all append their number to one list, so that what was
// lost and what was applied twice can be told from the record.
const (
	oldKey  = "old"                    // was there at the start
	flagKey = session.Key[int]("flag") // so was this
	log     = session.Key[[]int]("log")
	token   = session.Key[string]("token") // for Take
)

func attribute(i int) session.Attribute[int] {
	return session.Attribute[int]("attribute" + strconv.Itoa(i))
}

func setKey(i int) string { return "set" + strconv.Itoa(i) }

// value is a session's data, as far as the rules ask.
type value struct {
	old, token bool
	flag       bool
	set        uint8              // bit i: the key of request i
	attributes uint8              // bit i: the attribute of request i
	count      [maxRequests]uint8 // how often request i is in the list
}

// parse reads the JSON that the Managers write. It is called for each write of each run, and so knows just these
// values.
func parse(data []byte) (v value) {
	v.old = bytes.Contains(data, []byte(`"old":`))
	v.token = bytes.Contains(data, []byte(`"token":`))
	v.flag = bytes.Contains(data, []byte(`"flag":`))
	for i := range maxRequests {
		if bytes.Contains(data, []byte(`"`+setKey(i)+`":`)) {
			v.set |= 1 << i
		}
		if bytes.Contains(data, []byte(attribute(i)+`":`)) {
			v.attributes |= 1 << i
		}
	}
	if _, list, ok := bytes.Cut(data, []byte(`"log":[`)); ok {
		for _, c := range list {
			if c == ']' {
				break
			}
			if c >= '0' && c < '0'+maxRequests {
				v.count[c-'0']++
			}
		}
	}
	return v
}

// view is what a handler sees of its session.
type view struct {
	principal uint8
	elevated  bool
	value
}

func look(s *session.Session) view {
	v := view{principal: principalIndex(s.Principal()), elevated: s.Auth().Level > 1}
	_, v.old = s.Get(oldKey)
	_, v.token = token.Get(s)
	_, v.flag = flagKey.Get(s)
	for i := range maxRequests {
		if _, ok := s.Get(setKey(i)); ok {
			v.set |= 1 << i
		}
	}
	for _, i := range log.Or(s, nil) {
		v.count[i]++
	}
	return v
}

// outcome is how a request ended.
type outcome uint8

const (
	running   outcome = iota
	saved             // 2xx
	unchanged         // 503 that says: nothing happened
	uncertain         // 503 that says: may have happened
	dropped           // 2xx, but the session had ended
	late              // 2xx, came with an ID that had been retired
	dead              // its process died
	broken            // anything else
)

var outcomeNames = [...]string{"running", "saved", "503 unchanged", "503 uncertain", "dropped", "late",
	"died", "broken"}

const (
	noCookie      int8 = -1 // in a jar or a request: none; in a response: forget it
	cookieAsItWas int8 = -2
)

// request is one request of a run. The scheduler sets and reads its fields only while all requests are blocked.
type request struct {
	spec
	i      int
	w      *world
	resume chan answer

	sent, crashed, arrived bool
	done                   atomic.Bool // in the end; who sees it sees all that the goroutine wrote
	call                   *call       // where it has stopped; nil: it runs, or waits for a lock
	noticed                bool        // the scheduler has seen it there
	versions, keys         int         // seen so far: they give random names a place
	trace                  uint64

	cookie  int8 // that it was sent with
	loaded  int8 // the live record that its handler was given, or -1
	target  int8 // where its last write was applied, or -1
	acting  uint8
	void    bool // its cookie's record was not there
	late    bool // a tombstone was, not of Renew
	tooLate bool // its session had ended, and that had been answered, before it asked the store
	entered bool // its handler runs
	hurt    int  // its store calls that failed
	lost    bool // one of them was applied
	wrote   bool // it changed something in the store

	session       *session.Session
	before, shown view
	took          bool
	tookAt        int8
	callErr       error // of Take and RevokeOthers
	setSaved      bool  // the set was answered, before the update
	updateSaved   bool  // the update was, before the set
	recorder      *httptest.ResponseRecorder
	err           error
	panicked      any

	out       outcome
	checked   bool
	setCookie int8
	sessions  uint16 // that it is to end
}

// stop waits for the scheduler.
func (q *request) stop(ctx context.Context, c call) answer {
	q.w.meet()
	if q.w.draining.Load() {
		return answer{err: errStore}
	}
	c.at = time.Now()
	q.noticed = false
	q.call = &c
	select {
	case a := <-q.resume:
		return a
	case <-ctx.Done(): // a jump; the contract wants an error then
		q.w.meet()
		q.call = nil
		q.trace = mix(q.trace, 0x7e)
		return answer{err: context.Cause(ctx)}
	}
}

// start sends the request, in a goroutine of its own. jar is the browser's cookie at this time.
func (q *request) start(jar int8) {
	q.sent, q.cookie = true, jar
	if q.bare || q.elsewhere || q.life == revokeAll {
		q.cookie = noCookie
	}
	q.trace = mix(q.trace, uint64(q.cookie+1))
	go q.run()
}

func (q *request) run() {
	defer func() {
		q.w.meet()
		q.panicked = recover()
		if q.err = cmp.Or(q.err, q.callErr); q.err == nil && q.session != nil {
			q.err = q.session.Err()
		}
		q.done.Store(true)
	}()
	w := q.w
	m := q.i % len(w.managers)
	ctx := context.WithValue(context.Background(), requestKey{}, q)
	if q.life == revokeAll {
		_, q.err = w.managers[m].RevokeAll(ctx, principals[q.spec.principal])
		return
	}
	r := (&http.Request{Method: http.MethodPost, URL: &url.URL{Path: "/"}, Host: "localhost",
		Header: http.Header{}}).WithContext(ctx)
	if q.cookie >= 0 {
		r.Header.Set("Cookie", cookieName+"="+w.tokens[q.cookie])
	}
	q.recorder = httptest.NewRecorder()
	w.handlers[m].ServeHTTP(q.recorder, r)
}

// serve is the application.
func serve(rw http.ResponseWriter, r *http.Request) {
	q := r.Context().Value(requestKey{}).(*request)
	s := session.From(r)
	q.session, q.before, q.entered = s, look(s), true
	if len(q.w.scenario.jumps) > 0 {
		q.stop(context.Background(), call{op: opHandler})
	}
	if err := q.act(r.Context(), s); err != nil {
		q.callErr = err
		q.w.managers[q.i%len(q.w.managers)].Error(rw, r, err)
		return
	}
	rw.WriteHeader(http.StatusOK)
	q.w.meet()
	q.shown = look(s)
	if q.tail {
		q.setSaved = q.recorder.Code == http.StatusOK && s.Err() == nil
		q.add(s)
	}
}

// act is what the handler does before the first byte of its response.
func (q *request) act(ctx context.Context, s *session.Session) (err error) {
	if q.take {
		if _, q.took, err = token.Take(ctx, s); err != nil && !errors.Is(err, session.ErrEnded) {
			return err
		}
		q.tookAt = q.target
	}
	if q.leave {
		s.Logout()
	}
	if q.clear {
		s.Clear()
	}
	switch q.life {
	case login:
		s.Login(principals[q.spec.principal])
	case logout:
		s.Logout()
	case renew:
		s.Renew()
	case elevate:
		if s.Principal() != "" {
			s.Elevate(session.Auth{Level: 2, Until: time.Now().Add(24 * time.Hour)})
		}
	case revokeOthers:
		if _, err := s.RevokeOthers(ctx); err != nil && !errors.Is(err, session.ErrEnded) {
			return err
		}
	}
	if !q.tail {
		q.add(s)
	}
	if q.save {
		q.updateSaved = s.Save(ctx) == nil // what went wrong is in Err, too
	}
	if q.set {
		s.Set(setKey(q.i), 1)
	}
	if q.attribute {
		attribute(q.i).Set(s, 1)
	}
	if q.flag {
		flagKey.Set(s, 1)
	}
	if q.unflag {
		flagKey.Delete(s)
	}
	return nil
}

func (q *request) add(s *session.Session) {
	if q.update {
		log.Update(s, func(l []int) []int { return append(slices.Clone(l), q.i) })
	}
}

// judge says how a request that is done has ended.
func (q *request) judge() outcome {
	failed := q.life == revokeAll && q.err != nil
	if q.life != revokeAll {
		cut := q.panicked == http.ErrAbortHandler // the connection is cut, so that nobody takes the answer for complete
		failed = cut || q.recorder.Code == http.StatusServiceUnavailable
		if q.panicked != nil && !cut || !failed && q.recorder.Code != http.StatusOK {
			return broken
		}
	}
	switch {
	case failed && errors.Is(q.err, session.ErrUncertain):
		return uncertain
	case failed && errors.Is(q.err, session.ErrUnavailable):
		return unchanged
	case failed:
		return broken
	case q.life == login && q.setCookie < 0:
		return dropped
	case q.late && q.life != login:
		return late
	case errors.Is(q.err, session.ErrEnded):
		return dropped
	case q.err != nil:
		return broken
	}
	return saved
}

// answered reads what the response tells the browser about its cookie.
func (q *request) answered() (cookie int8) {
	if q.recorder == nil {
		return cookieAsItWas
	}
	cookie = cookieAsItWas
	for _, c := range q.recorder.Result().Cookies() {
		switch {
		case c.Name != cookieName:
		case c.MaxAge < 0:
			cookie = noCookie
		default:
			cookie = q.w.keyOf(c.Value)
		}
	}
	return cookie
}

func (q *request) errorText() string {
	switch {
	case q.panicked != nil:
		return fmt.Sprintf(" (panic: %v)", q.panicked)
	case q.err != nil:
		return fmt.Sprintf(" (%v)", q.err)
	}
	return ""
}
