package edges

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/http/httputil"
	"net/textproto"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/hipflask/session"
)

// newProxy passes requests on to a server. It counts visits before that, if it has sessions.
func newProxy(t *testing.T, to *httptest.Server, rewrite func(*httputil.ProxyRequest)) *httputil.ReverseProxy {
	t.Helper()
	target, err := url.Parse(to.URL)
	if err != nil {
		t.Fatal(err)
	}
	return &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.SetXForwarded()
			if rewrite != nil {
				rewrite(r)
			}
		},
		FlushInterval: -1,
		Transport:     to.Client().Transport,
		ErrorLog:      to.Config.ErrorLog,
	}
}

func counting(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		visits.Update(session.From(r), func(n int) int { return n + 1 })
		next.ServeHTTP(w, r)
	})
}

// Sessions in front of a proxy: what the server behind it answers arrives whole, with our cookie.
func TestProxyBehind(t *testing.T) {
	t.Parallel()
	for _, protocol := range protocols {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			s := newSetup(t)
			turn := make(steps)
			sent := make(chan string, 1)
			backend := newServer(t, "HTTP/1.1", newMux(routes{
				"GET /page": func(w http.ResponseWriter, r *http.Request) {
					sent <- r.Header.Get("Cookie")
					w.Header().Set("Link", "</style.css>; rel=preload")
					w.WriteHeader(http.StatusEarlyHints)
					w.Header().Set("Vary", "Accept")
					w.Header().Set("Trailer", "X-Sum")
					http.SetCookie(w, &http.Cookie{Name: "theirs", Value: "1"})
					fmt.Fprint(w, "the page")
					w.Header().Set("X-Sum", "8")
				},
				"GET /events": func(w http.ResponseWriter, r *http.Request) {
					w.Header().Set("Content-Type", "text/event-stream")
					for n := range 3 {
						fmt.Fprintf(w, "data: %d\n", n)
						w.(http.Flusher).Flush()
						turn.wait(t, r)
					}
				},
				"GET /dies": func(w http.ResponseWriter, r *http.Request) {
					w.Header().Set("Content-Length", "1000")
					fmt.Fprint(w, "some of it")
					w.(http.Flusher).Flush()
					panic(http.ErrAbortHandler)
				},
			}))
			v := visit(t, protocol, s.Handler(counting(newProxy(t, backend, nil))))

			var hints []string
			ctx := httptrace.WithClientTrace(t.Context(),
				&httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
					hints = append(hints, fmt.Sprint(code, h.Get("Link"), h["Set-Cookie"]))
					return nil
				}})
			r, err := http.NewRequestWithContext(ctx, "GET", v.url+"/page", nil)
			if err != nil {
				t.Fatal(err)
			}
			res := v.send(r)
			v.want(res, http.StatusOK, "the page")
			if want := []string{"103</style.css>; rel=preload[]"}; !slices.Equal(hints, want) {
				t.Errorf("got hints %q, want %q", hints, want)
			}
			if res.Trailer.Get("X-Sum") != "8" {
				t.Errorf("got trailers %v, want X-Sum", res.Trailer)
			}
			if got := strings.Join(res.Header["Vary"], ", "); got != "Accept, Cookie" {
				t.Errorf("got Vary %q, want the server's and ours", got)
			}
			if got := len(res.Cookies()); got != 2 {
				t.Errorf("got %d cookies, want the server's and ours", got)
			}
			if <-sent != "" {
				t.Error("the first request came with a cookie")
			}
			v.storedVisits(s, 1)

			_, body := v.stream("/events")
			v.storedVisits(s, 2)
			for n := range 3 {
				v.line(body, fmt.Sprintf("data: %d", n))
				turn <- struct{}{}
			}

			if r := v.get("/dies"); r.err == nil {
				t.Error("the server died in the middle, and the answer looks whole")
			}
			v.storedVisits(s, 3)

			s.store.Fail(errDown)
			v.unavailable(v.get("/page"))
		})
	}
}

// The client's cookies go on to the server behind, ours as well, unless they are taken out.
func TestProxyKeepsCookieToItself(t *testing.T) {
	t.Parallel()
	s := newSetup(t)
	sent := make(chan string, 1)
	backend := newServer(t, "HTTP/1.1", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sent <- r.Header.Get("Cookie")
	}))
	for _, c := range []struct {
		rewrite func(*httputil.ProxyRequest)
		want    bool
	}{{nil, true}, {withoutOurCookie, false}} {
		v := visit(t, "HTTP/1.1", s.Handler(counting(newProxy(t, backend, c.rewrite))))
		v.get("/")
		<-sent
		u, err := url.Parse(v.url)
		if err != nil {
			t.Fatal(err)
		}
		v.Jar.SetCookies(u, []*http.Cookie{{Name: "theirs", Value: "1"}})
		v.get("/")
		got := <-sent
		if strings.Contains(got, "session=") != c.want || !strings.Contains(got, "theirs=1") {
			t.Errorf("the server behind got our cookie: %v, want %v, and its own",
				strings.Contains(got, "session="), c.want)
		}
	}
}

// withoutOurCookie is what docs/middleware.md shows.
func withoutOurCookie(r *httputil.ProxyRequest) {
	r.Out.Header.Del("Cookie")
	for _, c := range r.In.Cookies() {
		if c.Name != "session" {
			r.Out.AddCookie(c)
		}
	}
}

// A proxy in front of sessions, as nginx would be.
func TestProxyInFront(t *testing.T) {
	t.Parallel()
	for _, protocol := range protocols {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			s := newSetup(t)
			backend := newServer(t, protocol, s.Handler(newMux(routes{"GET /count": count, "POST /login": login,
				"GET /late": func(w http.ResponseWriter, r *http.Request) {
					fmt.Fprint(w, "first byte")
					w.(http.Flusher).Flush()
					visits.Set(session.From(r), 100)
					s.store.Fail(errDown)
				}})))
			v := visit(t, "HTTP/1.1", newProxy(t, backend, nil))
			v.want(v.get("/count"), http.StatusOK, " 1")
			v.do("POST", "/login?name=ann")
			v.want(v.get("/count"), http.StatusOK, "ann 2")
			if r := v.get("/late"); r.err == nil {
				t.Error("an answer whose late change was lost looks whole")
			}
			v.unavailable(v.get("/count"))
		})
	}
}

// The proxy upgrades by a Hijack alone, though it sends the header as it stands: a new cookie can't be in it.
func TestSocketThroughProxy(t *testing.T) {
	t.Parallel()
	s := newSetup(t)
	echo := newServer(t, "HTTP/1.1", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer c.CloseNow()
		for {
			kind, text, err := c.Read(context.WithoutCancel(r.Context()))
			if err != nil || c.Write(t.Context(), kind, text) != nil {
				return
			}
		}
	}))
	all := newMux(routes{"GET /count": count})
	all.Handle("GET /room", counting(newProxy(t, echo, nil)))
	v := visit(t, "HTTP/1.1", s.Handler(all))

	c, err := v.dial("/room")
	if err != nil {
		t.Fatal(err)
	}
	v.say(c, "hello", "hello")
	if v.cookie() != "" || s.stored() != 0 || !s.saw(session.EventTooLate) {
		t.Errorf("a new session: got %d stored, want none, and the event", s.stored())
	}
	v.get("/count")
	if c, err = v.dial("/room"); err != nil {
		t.Fatal(err)
	}
	v.say(c, "hello", "hello")
	v.storedVisits(s, 2)

	s.store.Fail(errDown)
	if _, err := v.dial("/room"); err == nil || !strings.HasPrefix(err.Error(), "503") {
		t.Errorf("in an outage: got %v, want 503", err)
	}
}

// A client that goes while the proxy still waits takes nothing with it that was changed.
func TestProxyClientGone(t *testing.T) {
	t.Parallel()
	s := newSetup(t)
	arrived := make(chan struct{})
	backend := newServer(t, "HTTP/1.1", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			close(arrived)
			<-r.Context().Done()
		}
		io.WriteString(w, "ok")
	}))
	ended := make(chan struct{}, 2)
	h := s.Handler(counting(newProxy(t, backend, nil)))
	v := visit(t, "HTTP/1.1", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() { ended <- struct{}{} }()
		h.ServeHTTP(w, r)
	}))
	v.get("/")
	<-ended
	ctx, cancel := context.WithCancel(t.Context())
	r, err := http.NewRequestWithContext(ctx, "GET", v.url+"/slow", nil)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		<-arrived
		cancel()
	}()
	if res, err := v.Do(r); err == nil {
		res.Body.Close()
		t.Error("the client got an answer")
	}
	<-ended
	v.storedVisits(s, 2)
}
