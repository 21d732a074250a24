package storetest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"

	"github.com/hipflask/session"
	"github.com/hipflask/session/store"
)

var faultPromises = []clause{{
	name: "P4OneFault", twoOpens: true,
	rule: "whichever call of the store fails, before it was applied or after, or is applied much later: " +
		"200 means that all of the request's changes are stored, ErrUnavailable that nothing was changed " +
		"and nothing will be, ErrUncertain one of both; never a part, never twice, and the browser's " +
		"session is there as before. A single answer that is lost is found out by the version and costs " +
		"nobody an error.",
	run: func(p *probe, a, b store.Store) { p.everyFault(a, b, storm{failing: 1}) },
}, {
	name: "P4FaultAmongWrites", twoOpens: true,
	rule: "the same when another request changes the session before anybody can look what became of " +
		"the write that failed.",
	run: func(p *probe, a, b store.Store) { p.everyFault(a, b, storm{failing: 1, overtaken: true}) },
}, {
	name: "P4Outage", twoOpens: true,
	rule: "when the store fails from some call on, the client gets 503 with Retry-After, its cookie " +
		"stays as it was, nothing of the handler's answer is sent, and after the outage the session " +
		"is what the error said.",
	run: func(p *probe, a, b store.Store) { p.everyFault(a, b, storm{failing: 1000}) },
}, {
	name: "P4WritesFail", twoOpens: true,
	rule: "the same when the store can be read but some writes fail, and arrive later: a tombstone of " +
		"Renew that comes after everything was given up would log the user out.",
	run: func(p *probe, a, b store.Store) {
		for _, failing := range []int{2, 3} {
			p.everyFault(a, b, storm{failing: failing, writes: true})
		}
	},
}, {
	name: "P5AnswerMeansSaved", twoOpens: true,
	rule: "what was changed before the first byte of an answer is stored when that byte leaves: another " +
		"server sees it. A client that hangs up does not cancel the save.",
	run: answerMeansSaved,
}}

// A loss is what becomes of a write that fails.
type loss int

const (
	notApplied loss = iota
	answerLost
	appliedSoon
	appliedLate
	losses
)

func (f loss) String() string {
	return [...]string{"was not applied", "was applied, but its answer lost", "is applied after the next call",
		"is applied after the request"}[f]
}

// A storm makes some calls of a store fail.
type storm struct {
	first     int  // the call that fails, counted from 1
	failing   int  // how many fail from there on
	writes    bool // only writes count and fail
	overtaken bool // another request changes the session after the call that failed
	loss      loss
}

func (f storm) String() string {
	which := map[bool]string{true: "write", false: "call"}[f.writes]
	return fmt.Sprintf("%s %d (and %d more) fails, which %v, overtaken: %t", which, f.first, f.failing-1,
		f.loss, f.overtaken)
}

// weather is what the stores of a site suffer. The zero value is none.
type weather struct {
	mu      sync.Mutex
	storm   *storm
	calls   int
	failed  []string // the operations
	pending []func()
	other   bool // another request's change was stored
}

func (w *weather) begin(f storm) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.storm, w.calls, w.failed, w.other = &f, 0, nil, false
}

// end is good weather again: what was under way arrives. It returns the operations that failed.
func (w *weather) end() []string {
	w.mu.Lock()
	pending := w.pending
	w.storm, w.pending = nil, nil
	w.mu.Unlock()
	for _, apply := range pending {
		apply()
	}
	return w.failed
}

// errOutage is what a failing call says.
var errOutage = errors.New("storetest: the store is out of reach")

// call makes a call, or lets it fail. overtake is another request's change.
func (w *weather) call(ctx context.Context, op string, apply func(context.Context) error, overtake func() bool) error {
	w.mu.Lock()
	f := w.storm
	if f == nil || f.writes && op == "Load" {
		w.mu.Unlock()
		return apply(ctx)
	}
	w.calls++
	fails := w.calls >= f.first && w.calls < f.first+f.failing
	var arrived []func()
	if f.loss == appliedSoon {
		arrived, w.pending = w.pending, nil
	}
	if fails {
		w.failed = append(w.failed, op)
		if f.loss >= appliedSoon {
			w.pending = append(w.pending, func() { _ = apply(context.WithoutCancel(ctx)) })
		}
	}
	w.mu.Unlock()
	err := errOutage
	if !fails {
		err = apply(ctx)
	} else if f.loss == answerLost {
		_ = apply(ctx)
	}
	if fails && f.overtaken && overtake() {
		w.other = true
	}
	for _, late := range arrived {
		late()
	}
	return err
}

// A deed is what a request does to a session, and what the browser's session is afterwards.
type deed struct {
	name   string
	absent bool // there is no session before
	first  string
	do     func(s *session.Session)
	done   content // after 200
	// leaves tells that what is done is under another ID than before, or nowhere: after ErrUncertain, when the browser
	// did not get it, its cookie gives what was there before or nothing.
	leaves bool
}

const before, kept = 1, 5

// was is the session before the deed.
func (d deed) was() content {
	if d.absent {
		return content{values: map[string]int{}}
	}
	return content{d.first, map[string]int{"n": before, "kept": kept}}
}

// may are the sessions that the browser may have after an uncertain answer.
func (d deed) may() []content {
	if d.leaves {
		return []content{d.was(), {}}
	}
	return []content{d.was(), d.done}
}

// deeds have principals of their own each time.
func deeds() []deed {
	user, other := newRecord().Principal, newRecord().Principal
	values := func(n int) map[string]int { return map[string]int{"n": n, "kept": kept} }
	alone := map[string]int{"n": 2}
	setTwo := func(s *session.Session) { set(s, "n", 2) }
	then := func(first func(*session.Session)) func(*session.Session) {
		return func(s *session.Session) { first(s); setTwo(s) }
	}
	login := func(principal string) func(*session.Session) {
		return then(func(s *session.Session) { s.Login(principal) })
	}
	return []deed{
		{name: "Set", do: setTwo, done: content{"", values(2)}},
		{name: "Update", first: user, do: func(s *session.Session) { add(s, "n") }, done: content{user, values(2)}},
		{name: "Clear", first: user, do: then((*session.Session).Clear), done: content{user, alone}},
		{name: "Renew", do: then((*session.Session).Renew), done: content{"", values(2)}},
		{name: "Renew and Update", first: user, done: content{user, values(2)},
			do: func(s *session.Session) { s.Renew(); add(s, "n") }},
		{name: "Login", do: login(user), done: content{user, values(2)}, leaves: true},
		{name: "Login and Update", done: content{user, values(2)}, leaves: true,
			do: func(s *session.Session) { s.Login(user); add(s, "n") }},
		{name: "Login again", first: user, do: login(user), done: content{user, values(2)}, leaves: true},
		{name: "Login of another", first: user, do: login(other), done: content{other, alone}, leaves: true},
		{name: "Logout", first: user, do: (*session.Session).Logout, leaves: true},
		{name: "Logout and Set", first: user, do: then((*session.Session).Logout), done: content{"", alone},
			leaves: true},
		{name: "first Set", absent: true, do: setTwo, done: content{"", alone}, leaves: true},
		{name: "first Login", absent: true, do: login(user), done: content{user, alone}, leaves: true},
	}
}

// prepare gives a browser the session that the deed is for.
func (st *site) prepare(d deed) *browser {
	user := st.browser()
	if !d.absent {
		user.do(st.servers[1], func(s *session.Session) {
			if d.first != "" {
				s.Login(d.first)
			}
			set(s, "n", before)
			set(s, "kept", kept)
		})
	}
	return user
}

// everyFault does each deed again and again, with a fault in the first call, the second, and so on.
func (p *probe) everyFault(a, b store.Store, f storm) {
	st := p.site(a, b)
	defer st.close()
	for f.loss = range losses {
		for i := range deeds() {
			failed := true
			for f.first = 1; failed && f.first < 50; f.first++ {
				failed = st.oneFault(deeds()[i], f)
			}
		}
	}
}

// oneFault does a deed while a store fails, and reports unless what is there afterwards is what the answer said. It
// returns whether a call failed.
func (st *site) oneFault(d deed, f storm) bool {
	user := st.prepare(d)
	st.weather.begin(f)
	v := user.start(st.servers[0], func(_ *visit, s *session.Session) { d.do(s) }).finish()
	failed := st.weather.end()

	what := fmt.Sprintf("%s; %v", d.name, f)
	want := []content{d.done}
	switch {
	case v.refused == nil:
		v.code(http.StatusOK, what)
		if d.leaves {
			was := slices.DeleteFunc(slices.Clone(user.had), func(c string) bool { return c == user.holds() })
			(&browser{st: st, had: was}).dead(what + ", and succeeds")
		}
	case errors.Is(v.refused, session.ErrUncertain):
		v.unavailable(what)
		want = d.may()
	case errors.Is(v.refused, session.ErrUnavailable):
		v.unavailable(what)
		want = []content{d.was()}
	default:
		st.p.Errorf("%s: got the error %v", what, v.refused)
	}
	if mends := slices.Equal(failed, []string{"Replace"}) ||
		slices.Equal(failed, []string{"Create"}) && f.loss == answerLost; mends &&
		v.refused != nil && f.failing == 1 && !f.overtaken {
		st.p.Errorf("%s: the request fails, though the store was there to look again", what)
	}
	user.holdingOneOf(want, what)
	return len(failed) > 0
}

// unavailable reports unless the answer is the one for an outage.
func (v *visit) unavailable(what string) {
	p := v.b.st.p
	p.Helper()
	v.code(http.StatusServiceUnavailable, what)
	v.silent(what)
	if v.w.Header().Get("Retry-After") == "" {
		p.Errorf("%s: the answer 503 has no Retry-After", what)
	}
}

// holdingOneOf reports unless all servers show the same of several contents.
func (b *browser) holdingOneOf(want []content, what string) {
	b.st.p.Helper()
	got := b.st.shows(b.st.servers[2], b.holds())
	seen := content{got.principal, maps.Clone(got.values)}
	delete(seen.values, overtaker)
	if !slices.ContainsFunc(want, seen.equal) {
		b.st.p.Errorf("%s: the browser's session has %v, want one of %v", what, got, want)
		return
	}
	if _, there := got.values[overtaker]; !there && b.st.weather.other && seen.values["kept"] == kept {
		b.st.p.Errorf("%s: the write of another request is lost", what)
	}
	b.holding(got, what+", on another server")
}

// A witness calls look before the first byte of an answer.
type witness struct {
	*httptest.ResponseRecorder
	look func()
}

func (w *witness) WriteHeader(code int) { w.look(); w.ResponseRecorder.WriteHeader(code) }

func (w *witness) Write(b []byte) (int, error) { w.look(); return w.ResponseRecorder.Write(b) }

func answerMeansSaved(p *probe, a, b store.Store) {
	st := p.site(a, b)
	defer st.close()
	for _, hangsUp := range []bool{false, true} {
		for _, d := range deeds() {
			user := st.prepare(d)
			what := fmt.Sprintf("%s, at the first byte (client hangs up: %t)", d.name, hangsUp)
			ctx, hangUp := context.WithCancel(p.ctx)
			r := httptest.NewRequestWithContext(ctx, "GET", "/", nil)
			if c := user.holds(); c != "" {
				r.AddCookie(&http.Cookie{Name: "session", Value: c})
			}
			w := &witness{ResponseRecorder: httptest.NewRecorder()}
			looked := false
			w.look = func() {
				if looked {
					return
				}
				looked = true
				for _, c := range (&http.Response{Header: w.Header()}).Cookies() {
					user.takes(c)
				}
				user.holdingOneOf([]content{d.done}, what)
			}
			st.servers[0].Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				s := session.From(r)
				d.do(s)
				if hangsUp {
					hangUp()
				}
				_, err := w.Write([]byte("handled"))
				p.want(nil, err, what)
			})).ServeHTTP(w, r)
			hangUp()
			if !looked {
				p.Errorf("%s: nothing was answered", what)
			}
		}
	}
}
