package interleave

import (
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"log/slog"

	"github.com/hipflask/session"
	"github.com/hipflask/session/store"
)

const (
	keysEach = 2 // places for the records that one request creates: a second try takes a second ID
	maxKeys  = 1 + maxRequests*keysEach

	cookieName   = "__Host-session"
	grace        = 2 * time.Minute
	storeTimeout = 30 * time.Second
	pause        = 25 * time.Millisecond // longer than any pause of the save protocol
	forgotten    = 2 * time.Second       // after this a Manager knows nothing of others that wrote a session
)

// options vary a scenario.
type options struct {
	managers    int  // processes, which the requests take in turn; 0: each has its own
	indexLast   bool // a broken store: the index entry comes after the record
	indexCleans bool // a broken store: listing removes index entries that have no record
	anyOrder    bool // explore also those orders that make no difference
	repeats     bool // a broken store: its client library sends a write again if the answer was lost
}

// world is a store, a browser, and the requests of one run. Managers are made once and serve all runs.
type world struct {
	scenario *scenario
	options  options
	managers []*session.Manager
	handlers []http.Handler
	template store.Record // the session at the start
	tokens   [maxKeys]string
	draining atomic.Bool
	meeting  sync.Mutex

	ids struct { // tokens' keys, and their places; written by requests
		sync.Mutex
		keys map[string]string
	}
	places   map[string]int8   // of keys
	versions map[uint64]uint16 // names of versions: request, and which of its versions

	entries [maxKeys]entry
	pending *call // a write whose caller got an error, and that may still arrive
	sender  *request
	q       []*request
	waiting []int // requests that wait for a lock, in this order

	jar, jarBy      int8
	faults, crashes int
	epoch           uint8 // jumps so far
	start           time.Time
	open            bool // a time for requests and responses to travel
	lastSent        int

	ghosts
	tracing bool
	trail   []string
	found   []string
}

func newWorld(t testing.TB, sc *scenario, o options) *world {
	w := &world{scenario: sc, options: o}
	n := o.managers
	if n == 0 {
		n = len(sc.requests)
	}
	w.places, w.versions = map[string]int8{}, map[uint64]uint16{}
	w.ids.keys = map[string]string{}
	for range n {
		m, err := session.New(session.Config{
			SecretKey:    "tests-0f6a2c51Xk4Tq9ZbW7mRv2Ld8Ns",
			Store:        gated{w},
			StoreTimeout: storeTimeout,
			Grace:        grace,
			IDFormat:     w.idFormat,
			MaxSessions:  sc.most,
			Logger:       slog.New(slog.DiscardHandler),
		})
		if err != nil {
			t.Fatal(err)
		}
		w.managers = append(w.managers, m)
		w.handlers = append(w.handlers, m.Handler(http.HandlerFunc(serve)))
	}
	w.prepare(t)
	return w
}

func (w *world) close() {
	for _, m := range w.managers {
		m.Close()
	}
}

// ids is the usual ID format, which also remembers the key of each token.
type ids struct {
	session.IDFormat
	w *world
}

func (f ids) New() (token, key string) {
	token, key = f.IDFormat.New()
	f.w.ids.Lock()
	defer f.w.ids.Unlock()
	f.w.ids.keys[token] = key
	return token, key
}

func (w *world) idFormat(keys []string, name string) (session.IDFormat, error) {
	f, err := session.SignedID(keys, name)
	return ids{f, w}, err
}

// keyOf returns the place of a token that a response brings.
func (w *world) keyOf(token string) int8 {
	w.ids.Lock()
	defer w.ids.Unlock()
	k, ok := w.places[w.ids.keys[token]]
	if !ok {
		w.broken("ANSWER: a cookie that names no record")
		return noCookie
	}
	w.tokens[k] = token
	return k
}

// prepare makes the session at the start, by a real Manager.
func (w *world) prepare(t testing.TB) {
	s, err := w.managers[0].Load(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	if p := w.scenario.principal; p != 0 {
		s.Login(principals[p])
	}
	s.Set(oldKey, 1)
	token.Set(s, "once")
	flagKey.Set(s, 1)
	if err := s.Save(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.template = w.entries[0].record
	w.tokens[0] = s.Token()
}

// reset makes the world as it is at the start of a run.
func (w *world) reset() {
	clear(w.places)
	clear(w.versions)
	clear(w.ids.keys)
	w.draining.Store(false)
	w.entries = [maxKeys]entry{}
	w.pending, w.sender, w.waiting = nil, nil, w.waiting[:0]
	w.jar, w.jarBy = noCookie, -1
	w.faults, w.crashes = w.scenario.faults, w.scenario.crashes
	w.pass(forgotten) // the run before
	w.start = time.Now()
	w.epoch, w.open, w.lastSent = 0, true, -1
	w.trail, w.found = w.trail[:0], w.found[:0]
	w.ghosts.reset()
	if !w.scenario.noStart {
		r := w.template
		now := w.start
		r.CreatedAt = now.Add(-3 * time.Hour)
		if w.scenario.most > 0 {
			r.CreatedAt = now.Add(-100 * time.Millisecond)
		}
		r.LastSeenAt = now
		if w.scenario.idle {
			r.LastSeenAt = now.Add(-2 * time.Hour)
		}
		r.ExpiresAt = r.LastSeenAt.Add(24 * time.Hour)
		w.entries[0] = entry{there: true, index: true, record: r, value: parse(r.Data)}
		w.places[r.Key], w.versions[r.Version], w.ids.keys[w.tokens[0]] = 0, 0xffff, r.Key
		w.jar, w.given, w.principal[0] = 0, 1, w.scenario.principal
	}
	w.q = w.q[:0]
	for i, s := range w.scenario.requests {
		w.q = append(w.q, &request{spec: s, i: i, w: w, resume: make(chan answer),
			loaded: -1, target: -1, setCookie: cookieAsItWas})
	}
}

// meet tells the race detector what synctest does not: that what a request does after a pause comes after what the
// scheduler did before it let time pass.
func (w *world) meet() {
	w.meeting.Lock()
	defer w.meeting.Unlock()
}

// pass lets time pass.
func (w *world) pass(d time.Duration) {
	w.meet()
	time.Sleep(d)
	synctest.Wait()
}

// settle waits until every request has stopped, and takes note of what they did. A request in one of the protocol's
// pauses goes on when time does; what still runs then waits for a lock.
func (w *world) settle() {
	synctest.Wait()
	for range 2 {
		if w.stopped() {
			break
		}
		w.pass(pause)
	}
	queue := w.waiting[:0]
	for _, i := range w.waiting {
		if w.waits(w.q[i]) {
			queue = append(queue, i)
		}
	}
	w.waiting = queue
	for i, q := range w.q {
		switch {
		case !q.sent || q.out != running:
		case q.done.Load():
			w.finish(q)
		case q.call == nil && !contains(w.waiting, i):
			w.waiting = append(w.waiting, i)
		case q.call != nil && !q.noticed:
			q.noticed = true
			w.resolve(q, q.call)
			q.trace = w.traceCall(q.trace, q.call)
		}
	}
}

func contains(s []int, i int) bool {
	for _, j := range s {
		if j == i {
			return true
		}
	}
	return false
}

func (w *world) waits(q *request) bool {
	return q.sent && !q.done.Load() && q.call == nil && q.out == running
}

func (w *world) stopped() bool {
	for _, q := range w.q {
		if w.waits(q) {
			return false
		}
	}
	return true
}

// resolve gives the random names in a call their places. q is nil at set-up.
func (w *world) resolve(q *request, c *call) {
	if c.op == opList || c.op == opHandler {
		return
	}
	k, ok := w.places[c.name]
	if !ok {
		if q != nil {
			q.keys++
			k = int8(1 + q.i*keysEach + q.keys - 1)
			if q.keys > keysEach {
				panic("a request created more records than there are places for")
			}
		}
		w.places[c.name] = k
	}
	c.key = k
	if v := c.record.Version; v != 0 && w.versions[v] == 0 && q != nil {
		q.versions++
		w.versions[v] = uint16(q.i+1)<<8 | uint16(q.versions)
	}
}

// finish takes note of a request's answer. q.crashed ones never come here.
func (w *world) finish(q *request) {
	q.setCookie = q.answered()
	q.out = q.judge()
	w.open, w.lastSent = true, -1
	if w.tracing {
		w.say("%s answers: %s%s%s", q.name, outcomeNames[q.out], w.cookieText(q.setCookie), q.errorText())
	}
	w.wasAnswered(q)
}

func (w *world) say(format string, args ...any) {
	if w.tracing {
		w.trail = append(w.trail, fmt.Sprintf(format, args...))
	}
}

func (w *world) cookieText(c int8) string {
	switch c {
	case cookieAsItWas:
		return ""
	case noCookie:
		return ", deletes the cookie"
	}
	return ", cookie " + w.keyText(c)
}

// keyText names a record as a reader of a schedule would.
func (w *world) keyText(k int8) string {
	if k <= 0 {
		return "K0"
	}
	text := "K(" + w.scenario.requests[int(k-1)/keysEach].name + ")"
	if n := int(k-1) % keysEach; n > 0 {
		text += strconv.Itoa(n + 1)
	}
	return text
}

// drain ends a run that is given up, or whose processes died: every call fails from here on.
func (w *world) drain() {
	w.draining.Store(true)
	for {
		synctest.Wait()
		left := false
		for _, q := range w.q {
			if !q.sent || q.done.Load() {
				continue
			}
			left = true
			if q.call != nil {
				q.call = nil
				q.resume <- answer{err: errStore}
			}
		}
		if !left {
			return
		}
		w.pass(pause)
	}
}
