package history

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hipflask/session"
	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/storetest"
)

// Servers is what a program runs on.
type Servers struct {
	Pace
	// Stores has a store for each Manager, at least one; Managers beyond use them again. What they share is the
	// caller's business.
	Stores []store.Store
	// Verbose keeps a log of everything.
	Verbose bool
}

// History is what came of a program.
type History struct {
	Program  Program
	Findings []string // broken rules that need no search
	Log      []string // if Servers.Verbose
	Faults   storetest.FaultCounts
	ops      []*op
	pace     Pace
}

// run is a history in the making.
type run struct {
	Servers
	program  Program
	revokes  bool // RevokeAll, Revoke or RevokeOthers is among the actions
	began    time.Time
	clock    atomic.Int64
	stamps   []stamp
	contacts map[place][]contact
	unsure   [MaxManagers]atomic.Int64 // writes of each server that failed without an answer
	serving  sync.WaitGroup

	managers []*session.Manager
	handlers []http.Handler
	ids      session.IDFormat

	mu      sync.Mutex
	tokens  []string       // all IDs, in the order in which they were met
	keys    map[string]int // the store's key of each
	handles []string
	makers  map[string]string // tag to the principal of its maker
	winners map[string]int    // what was taken, by which request
	sent    map[int]int       // IDs that answers gave out, by which request
	jars    map[int]int       // browser to ID
	ops     []*op

	revocations []*op
	findings    []string
	lines       []string
}

const (
	secretKey  = "history-Xk4Tq9ZbW7mRv2Ld8NsHy3Gc"
	cookieName = "session"
)

// Run runs a program to its end: until all late writes have arrived and every ID that was ever given out has been
// tried, also after Grace and after Lifetime.
func Run(ctx context.Context, p Program, servers Servers) *History {
	r := &run{
		Servers: servers, program: p, began: time.Now(),
		contacts: map[place][]contact{},
		keys:     map[string]int{}, makers: map[string]string{}, winners: map[string]int{}, sent: map[int]int{},
		jars: map[int]int{},
	}
	for _, t := range p.Tabs {
		for _, req := range t.Requests {
			for _, a := range req.Actions {
				r.revokes = r.revokes || a.Verb >= RevokeAll || a.Verb == RevokeOthers
			}
		}
	}
	r.ids, _ = session.SignedID([]string{secretKey}, cookieName)
	var faulty []*storetest.Faulty
	for i := range p.Managers {
		faults := p.Faults
		faults.Seed += uint64(i) << 32
		f := storetest.NewFaulty(servers.Stores[i%len(servers.Stores)], faults)
		faulty = append(faulty, f)
		r.serve(&traced{run: r, Faulty: f, server: i})
	}
	var tabs sync.WaitGroup
	for i := range p.Tabs {
		tabs.Go(func() { r.browse(ctx, &p.Tabs[i]) })
	}
	tabs.Wait()
	r.serving.Wait()
	for _, f := range faulty {
		f.Wait()
	}
	r.probe(ctx)
	h := &History{Program: p, Findings: r.findings, Log: r.lines, ops: r.ops, pace: r.Pace}
	for _, o := range r.revocations {
		h.ops = append(h.ops, perID(o, r.ops)...)
	}
	r.widen(h.ops)
	for i, f := range faulty {
		f.Close()
		r.managers[i].Close()
		c := f.Counts()
		h.Faults.Undisturbed += c.Undisturbed
		h.Faults.Refused += c.Refused
		h.Faults.Lost += c.Lost
		h.Faults.Late += c.Late
		h.Faults.Hung += c.Hung
	}
	return h
}

// serve starts a server.
func (r *run) serve(s store.Store) {
	m, err := session.New(session.Config{
		SecretKey: secretKey, InsecureHTTP: true, Store: s,
		IdleTimeout: r.Idle, Lifetime: r.Lifetime, StoreTimeout: r.StoreTimeout,
		Grace: r.Grace, SweepInterval: 10 * r.Grace,
		Logger: slog.New(slog.DiscardHandler),
		OnEvent: func(ctx context.Context, e session.Event) {
			if v := visitOf(ctx); v != nil {
				v.mu.Lock()
				v.events = append(v.events, e)
				v.mu.Unlock()
			}
		},
		ErrorHandler: func(w http.ResponseWriter, req *http.Request, err error) {
			v := visitOf(req.Context())
			v.mu.Lock()
			v.failures = append(v.failures, err)
			v.mu.Unlock()
			w.WriteHeader(http.StatusServiceUnavailable)
		},
	})
	if err != nil {
		panic(err)
	}
	r.managers = append(r.managers, m)
	r.handlers = append(r.handlers, m.Handler(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		visitOf(req.Context()).serve(w, req)
	})))
}

// browse sends a tab's requests.
func (r *run) browse(ctx context.Context, t *Tab) {
	for i := range t.Requests {
		req := &t.Requests[i]
		time.Sleep(req.Wait)
		if len(req.Actions) > 0 && req.Actions[0].Verb >= RevokeAll {
			r.administer(ctx, req)
			continue
		}
		r.mu.Lock()
		cookie, ok := r.jars[t.Browser]
		if !ok {
			cookie = -1
		}
		if req.Copied > 0 && len(r.sent) > 0 {
			cookie = r.copied(req.Copied)
		}
		r.mu.Unlock()
		v := r.send(ctx, req, cookie)
		if v == nil {
			continue // the client gave up
		}
		time.Sleep(req.Return)
		if req.Deaf || req.Copied > 0 {
			continue
		}
		r.mu.Lock()
		switch {
		case v.got >= 0:
			r.jars[t.Browser] = v.got
			r.logLocked("r%d: browser %d has K%d", req.ID, t.Browser, v.got)
		case v.deleted:
			delete(r.jars, t.Browser)
			r.logLocked("r%d: browser %d has no cookie", req.ID, t.Browser)
		}
		r.mu.Unlock()
	}
}

// copied returns one of the IDs given out so far. The caller holds mu.
func (r *run) copied(n int) int {
	var given []int
	for id := range r.sent {
		given = append(given, id)
	}
	slices.Sort(given)
	return given[n%len(given)]
}

// send sends one request and waits for its answer; nil: the client gave up before.
func (r *run) send(ctx context.Context, req *Request, cookie int) *visit {
	v := &visit{run: r, req: req, cookie: cookie, given: -1, got: -1}
	ctx = storetest.WithSource(context.WithValue(ctx, visitKey{}, v), uint64(req.ID))
	if req.Calm {
		ctx = storetest.WithoutFaults(ctx)
	}
	ctx, cancel := context.WithCancel(ctx)
	var gaveUp <-chan time.Time
	if req.HangUp > 0 {
		gaveUp = time.After(req.HangUp)
	}
	answered := make(chan struct{})
	r.serving.Go(func() {
		defer cancel()
		defer close(answered)
		v.visit(ctx)
	})
	select {
	case <-answered:
		return v
	case <-gaveUp:
		v.log("client gives up")
		cancel()
		return nil
	}
}

// visit runs the request through the server and looks at the answer.
func (v *visit) visit(ctx context.Context) {
	v.ctx = ctx
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://localhost/", nil)
	if err != nil {
		panic(err)
	}
	if v.cookie >= 0 {
		req.AddCookie(&http.Cookie{Name: cookieName, Value: v.run.text(v.cookie)})
	}
	v.log("sent with K%d to server %d", v.cookie, v.req.Manager)
	w := httptest.NewRecorder()
	func() {
		defer func() {
			if p := recover(); p != nil && p != http.ErrAbortHandler {
				panic(p)
			}
		}()
		v.run.handlers[v.req.Manager].ServeHTTP(w, req)
	}()
	v.finished()
	v.answered(w.Result())
}

// answered checks the answer's cookie.
func (v *visit) answered(res *http.Response) {
	var cookies []*http.Cookie
	for _, c := range res.Cookies() {
		if c.Name == cookieName {
			cookies = append(cookies, c)
		}
	}
	got := -1
	if len(cookies) > 1 {
		v.find("%d cookies in one answer", len(cookies))
	}
	if len(cookies) == 1 && cookies[0].Value == "" {
		v.deleted = true
	} else if len(cookies) == 1 {
		got = v.run.token(cookies[0].Value)
	}
	v.log("answer %d, cookie K%d, deleted %v", res.StatusCode, got, v.deleted)
	replaced := res.StatusCode != http.StatusOK
	switch {
	case got != v.given:
		// Also of a 503: what a Save has stored before is under that ID, and the old one may be retired.
		v.find("got cookie K%d in the answer, want K%d", got, v.given)
	case v.deleted && (replaced || !v.forgotten):
		v.find("an answer deletes the cookie without a Logout")
	}
	v.got = got
	if got >= 0 {
		v.run.give(v, got)
	}
}

// give notes that an ID was given out. It has to be a new one.
func (r *run) give(v *visit, id int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if by, ok := r.sent[id]; ok || id == v.cookie {
		r.findLocked("r%d: late Set-Cookie of K%d, which r%d has given out", v.req.ID, id, by)
	}
	r.sent[id] = v.req.ID
}

// probe tries every ID that was given out: at once, after Grace and after Lifetime.
func (r *run) probe(ctx context.Context) {
	for round, wait := range []time.Duration{r.Unit, r.Grace + r.StoreTimeout + time.Second, r.Lifetime + time.Second} {
		if round > 0 && !r.Jumps {
			break
		}
		time.Sleep(wait)
		var ids []int
		for id := range r.sent {
			ids = append(ids, id)
		}
		slices.Sort(ids)
		for _, id := range ids {
			ops := len(r.ops)
			v := r.send(ctx, &Request{ID: 1000*(round+1) + id, Calm: true}, id)
			if round < 2 {
				continue
			}
			r.ops = r.ops[:ops]
			if v.state == there {
				v.find("K%d works after its Lifetime", id)
			}
		}
	}
}

func (r *run) now() time.Duration { return time.Since(r.began) }

// tick returns the next moment of the history. Between two of them there is room for one that widen makes.
func (r *run) tick() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := stamp{r.clock.Add(2), r.now()}
	if r.Stale > 0 {
		r.stamps = append(r.stamps, s)
	}
	return s.tick
}

func (r *run) add(o *op) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ops = append(r.ops, o)
}

func (r *run) count(verb opVerb) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for _, o := range r.ops {
		if o.verb == verb {
			n++
		}
	}
	return n
}

func (r *run) find(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.findLocked(format, args...)
}

func (r *run) findLocked(format string, args ...any) {
	r.findings = append(r.findings, fmt.Sprintf(format, args...))
	r.logLocked("FINDING "+format, args...)
}

func (r *run) log(format string, args ...any) {
	if r.Verbose {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.logLocked(format, args...)
	}
}

func (r *run) logLocked(format string, args ...any) {
	if r.Verbose {
		r.lines = append(r.lines, fmt.Sprintf("%10v %4d  ", r.now().Round(time.Microsecond), r.clock.Load())+
			fmt.Sprintf(format, args...))
	}
}

// token returns the number of an ID; -1: "".
func (r *run) token(text string) int {
	if text == "" {
		return -1
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	i := slices.Index(r.tokens, text)
	if i < 0 {
		i = len(r.tokens)
		r.tokens = append(r.tokens, text)
		if key, err := r.ids.Parse(text); err == nil {
			r.keys[key] = i
		}
	}
	return i
}

func (r *run) text(id int) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.tokens[id]
}

func (r *run) handle(text string) int {
	if text == "" {
		return -1
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	i := slices.Index(r.handles, text)
	if i < 0 {
		i = len(r.handles)
		r.handles = append(r.handles, text)
	}
	return i
}

// place returns the number of the ID with that key, which nobody was given; -1: there is none.
func (r *run) place(key string) int {
	if key == "" {
		return -1
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	i, ok := r.keys[key]
	if !ok {
		i = len(r.tokens)
		r.tokens, r.keys[key] = append(r.tokens, "key "+key), i
	}
	return i
}

// made notes whose a tag is.
func (r *run) made(tag, principal string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.makers[tag] = principal
}

// belongs checks that nothing in d is another principal's, and that nothing is there twice.
func (r *run) belongs(v *visit, d data, principal string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, text := range d {
		list := strings.Fields(text)
		for j, tag := range list {
			if who := r.makers[tag]; who != "" && who != principal {
				r.findLocked("r%d: %q sees %s, which is %q's", v.req.ID, principal, tag, who)
			}
			if slices.Contains(list[:j], tag) {
				r.findLocked("r%d: the Update that appends %s to %s was applied twice", v.req.ID, tag, keyNames[i])
			}
		}
	}
}

// won notes who took a value.
func (r *run) won(v *visit, tag string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if by, ok := r.winners[tag]; ok {
		r.findLocked("r%d: Take of %s, which r%d has taken", v.req.ID, tag, by)
	}
	r.winners[tag] = v.req.ID
}
