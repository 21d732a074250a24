package history

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hipflask/session"
)

// visit is one request on its way through a server: it does the request's actions, knows what the session has to look
// like meanwhile, and turns each load and save into ops.
type visit struct {
	run    *run
	req    *Request
	ctx    context.Context
	cookie int // the ID that was sent; -1: none
	s      *session.Session
	w      http.ResponseWriter

	mu       sync.Mutex
	events   []session.Event
	failures []error // given to the ErrorHandler
	met      bool    // the current save has loaded a record that was replaced
	created  string  // the key of the newest record that the request has sent
	crossed  bool    // and then the live one that took its place
	loads    int     // that found a live record since the current save began
	writes   int     // sent since the current save began
	unsure   int     // those of them that failed without an answer
	before   int64   // writes of the whole server that had failed so, when the current save began

	cached bool // a cache has answered the load, and no Touch has confirmed that since

	loadedAt time.Duration
	expected
	written   bool // the first byte is out, or going
	sealed    bool // it is out
	hopeless  bool // a save was uncertain: nothing that comes after it may have any effect
	last      *attempt
	given     int  // the ID that the answer's cookie has to hold; -1: none
	forgotten bool // the answer may delete the cookie
	got       int  // the ID in the answer's cookie; -1: none
	deleted   bool // the answer deletes the cookie
	begun     int  // tags made
}

// expected is what the session is to this request.
type expected struct {
	state   sessionState
	id      int // under which it was found, or where a save has followed it
	token   int // what Token returns
	who     string
	handle  int
	view    data // what the request sees, pending changes included
	pending []change
	base    *data  // what was stored when the first of pending was made; nil: not known
	life    Verb   // of a pending Login or Renew; Set: none
	loginAs string // the principal of a pending Login
	scratch bool   // a Login over another principal: what is stored does not count
	stale   bool   // view may be older than the request
	ended   bool   // a Take found that the session has ended, after a Login
	ending  *leaving
}

// leaving is a session that Logout left and no save has ended yet.
type leaving struct {
	id  int
	who string
}

type sessionState uint8

const (
	none   sessionState = iota // no session, a change makes one
	there                      // a session
	gone                       // it has ended, changes are dropped
	spent                      // a parallel login has taken it over, changes are dropped
	failed                     // could not be read
)

type visitKey struct{}

// visitOf returns the visit that a call of the store, or an event, belongs to; nil: none.
func visitOf(ctx context.Context) *visit {
	v, _ := ctx.Value(visitKey{}).(*visit)
	return v
}

func (v *visit) log(format string, args ...any) {
	v.run.log("r%d: "+format, append([]any{v.req.ID}, args...)...)
}

func (v *visit) find(format string, args ...any) {
	v.run.find("r%d: "+format, append([]any{v.req.ID}, args...)...)
}

// serve is the application.
func (v *visit) serve(w http.ResponseWriter, r *http.Request) {
	v.w = w
	v.open(r)
	for i := range v.req.Actions {
		if v.state == failed {
			return
		}
		v.act(&v.req.Actions[i])
	}
	if v.state != failed && !v.written {
		v.first()
	}
	if v.state != failed && v.unsaved() {
		v.last = v.prepare()
	}
}

// finished is called when the Handler has returned and has saved what was changed after the first byte.
func (v *visit) finished() {
	if v.last != nil {
		v.conclude("end", v.last, v.s.Err())
	}
}

// first sends the first byte, and with it the cookie.
func (v *visit) first() {
	v.written = true
	a := v.prepare()
	v.w.WriteHeader(http.StatusOK)
	v.mu.Lock()
	failures := v.failures
	v.mu.Unlock()
	err := v.s.Err()
	switch {
	case len(failures) > 0:
		err = failures[0]
	case v.happened(a, session.EventDropped):
		err = session.ErrEnded // whatever Err remembers of earlier saves
	}
	v.conclude("first byte", a, err)
	v.sealed = true
	if len(failures) > 0 {
		v.state = failed // the answer has been replaced
	}
}

// open reads the session.
func (v *visit) open(r *http.Request) {
	v.expected = expected{state: none, id: -1, token: -1, handle: -1}
	o := v.op(opRead)
	v.loadedAt = o.callAt
	v.s = session.From(r)
	v.returned(o)
	if err := v.s.Err(); err != nil {
		v.state = failed
		if !errors.Is(err, session.ErrUnavailable) && !errors.Is(err, context.Canceled) {
			v.find("the load failed with %v", err)
		} else if !errors.Is(err, context.Canceled) && v.run.count(opRenew) <= maxHops {
			v.excused(err)
		}
		v.log("load failed: %v", err)
		return
	}
	v.view = v.snapshot()
	o.view = v.seen()
	if v.cookie < 0 {
		if !v.s.IsNew() || *o.view != (data{}) || v.s.Principal() != "" {
			v.find("a request without a cookie has a session with %v", *o.view)
		}
		return
	}
	o.id, o.live, o.who, o.handle = v.cookie, !v.s.IsNew(), v.s.Principal(), v.run.handle(v.s.Info().Handle)
	switch {
	case o.live:
		v.state, v.id, v.token, v.who, v.handle = there, v.cookie, v.cookie, o.who, o.handle
		if o.stale = v.fromCache(); o.stale {
			v.stale = true
			v.loadedAt -= time.Minute // what store.StaleLoader allows
		}
	default:
		o.who, o.reason = "", v.reason()
		o.view = nil
		if v.view != (data{}) || v.s.Principal() != "" {
			v.find("a request without a session sees %v of %q", v.view, v.s.Principal())
		}
		if o.reason != "unknown" {
			v.state = gone
		}
	}
	v.log("load %v", o)
	v.run.add(o)
}

// fromCache reports whether a cache has answered the load, and nothing has confirmed it since.
func (v *visit) fromCache() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.cached
}

// maxHops is how many renewals within Grace a load follows (design: at most 8, then ErrUnavailable).
const maxHops = 8

// excused checks that the store had a hand in a failure, or that the request took longer than Grace.
func (v *visit) excused(err error) {
	f := v.run.program.Faults
	if !v.run.Jumps {
		return // in real time anything can take too long
	}
	if v.life != Set && v.run.revokes {
		return // the new ID may have been revoked before it was good for anything
	}
	if f.Refused+f.Lost+f.Late+f.Hung == 0 &&
		(errors.Is(err, session.ErrUnavailable) || v.run.now()-v.loadedAt <= v.run.Grace) {
		v.find("no fault, and yet: %v", err)
	}
}

// reason is why the load gave no session, by its event.
func (v *visit) reason() string {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, e := range v.events {
		if e.Kind == session.EventRejected {
			switch e.Reason {
			case session.ReasonEnded:
				return "ended"
			case session.ReasonReplaced:
				return "replaced"
			}
		}
	}
	return "unknown"
}

// op begins an op; returned ends it.
func (v *visit) op(verb opVerb) *op {
	return &op{request: v.req.ID, server: v.req.Manager, verb: verb, id: v.id, next: -1, who: v.who,
		handle: v.handle, call: v.run.tick(),
		callAt: v.run.now()}
}

func (v *visit) returned(o *op) { o.ret, o.retAt = v.run.tick(), v.run.now() }

func (v *visit) seen() *data {
	d := v.view
	return &d
}

// snapshot reads all values and checks that nobody else's are among them.
func (v *visit) snapshot() data {
	var d data
	for _, name := range v.s.Keys() {
		i := slices.Index(keyNames[:], name)
		switch {
		case i < 0:
			v.find("an unknown key %q", name)
		case i == keyLog:
			list, _ := session.Key[[]string](name).Get(v.s)
			d[i] = strings.Join(list, " ")
		case i == keyFlash:
			list, _ := session.Key[[]session.FlashMessage](name).Get(v.s)
			var texts []string
			for _, f := range list {
				texts = append(texts, f.Message)
			}
			d[i] = strings.Join(texts, " ")
		default:
			d[i], _ = session.Key[string](name).Get(v.s)
		}
	}
	list, _ := attribute.Get(v.s)
	d[keyAttribute] = strings.Join(list, " ")
	d[keyPublic], _ = public.Get(v.s)
	d[keyLabel] = v.s.Info().Label
	if v.state == spent {
		d[keyLabel] = v.view[keyLabel] // Info is that of the session that took over
	}
	v.run.belongs(v, d, v.s.Principal())
	return d
}

// tag is a value that nothing else in the history has.
func (v *visit) tag() string {
	v.begun++
	t := fmt.Sprintf("r%d.%d", v.req.ID, v.begun)
	v.run.made(t, v.s.Principal())
	return t
}
