package edges

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/klauspost/compress/gzhttp"

	"github.com/hipflask/session"
)

// steps lets a test and a handler take turns.
type steps chan struct{}

func (c steps) wait(t testing.TB, r *http.Request) {
	select {
	case <-c:
	case <-r.Context().Done():
		t.Error("the client went before its time")
	}
}

// stream opens an answer that is read while it goes on.
func (v *visitor) stream(path string) (*http.Response, *bufio.Reader) {
	v.t.Helper()
	r, err := http.NewRequestWithContext(v.t.Context(), "GET", v.url+path, nil)
	if err != nil {
		v.t.Fatal(err)
	}
	res, err := v.Do(r)
	if err != nil {
		v.t.Fatal(err)
	}
	v.t.Cleanup(func() { res.Body.Close() })
	return res, bufio.NewReader(res.Body)
}

func (v *visitor) line(b *bufio.Reader, want string) {
	v.t.Helper()
	if got, err := b.ReadString('\n'); got != want+"\n" || err != nil {
		v.t.Fatalf("got line %q, %v, want %q", got, err, want)
	}
}

// storedVisits checks what the store has at this moment.
func (v *visitor) storedVisits(s *setup, want int) {
	v.t.Helper()
	if got, _ := visits.Get(v.session(s)); got != want {
		v.t.Errorf("got %d visits in the store, want %d", got, want)
	}
}

// A Flush sends the cookie, and what is changed while streaming is stored by Save and at the end.
func TestFlush(t *testing.T) {
	t.Parallel()
	all := func(s *setup) (routes, steps) {
		turn := make(steps)
		return routes{"GET /stream": func(w http.ResponseWriter, r *http.Request) {
			s := session.From(r)
			visits.Set(s, 1)
			if err := http.NewResponseController(w).Flush(); err != nil {
				t.Error(err)
			}
			turn.wait(t, r)
			visits.Set(s, 2)
			if err := s.Save(r.Context()); err != nil {
				t.Error(err)
			}
			fmt.Fprintln(w, "saved")
			w.(http.Flusher).Flush()
			turn.wait(t, r)
			visits.Set(s, 3)
			fmt.Fprintln(w, "done")
		}}, turn
	}
	for name, build := range routers {
		for _, protocol := range protocols {
			t.Run(name+", "+protocol, func(t *testing.T) {
				t.Parallel()
				s := newSetup(t)
				routes, turn := all(s)
				v := visit(t, protocol, build(s.Manager, routes))
				_, body := v.stream("/stream")
				v.storedVisits(s, 1)
				turn <- struct{}{}
				v.line(body, "saved")
				v.storedVisits(s, 2)
				turn <- struct{}{}
				v.line(body, "done")
				if _, err := body.ReadByte(); err != io.EOF {
					t.Errorf("the stream ends with %v, want EOF", err)
				}
				v.storedVisits(s, 3)
			})
		}
	}
}

// A peer's wrapper made gin's Stream panic, since it asks for http.CloseNotifier.
func TestGinStream(t *testing.T) {
	t.Parallel()
	for _, protocol := range protocols {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			s := newSetup(t)
			turn := make(steps)
			left := make(chan bool, 1)
			engine := gin.New()
			engine.GET("/events", func(c *gin.Context) {
				n := visits.Update(session.From(c.Request), func(n int) int { return n + 1 })
				gone, first := c.Request.Context().Done(), true
				left <- c.Stream(func(w io.Writer) bool {
					if !first {
						select {
						case <-turn:
						case <-gone:
							return true // it is for gin to notice
						}
					}
					first = false
					c.SSEvent("visit", n)
					n++
					return n < 4
				})
			})
			v := visit(t, protocol, s.Handler(engine))
			res, body := v.stream("/events")
			if got := res.Header.Get("Content-Type"); got != "text/event-stream;charset=utf-8" {
				t.Errorf("got Content-Type %q, want an event stream's", got)
			}
			v.storedVisits(s, 1)
			for n := 1; n < 4; n++ {
				v.line(body, "event:visit")
				v.line(body, fmt.Sprintf("data:%d", n))
				v.line(body, "")
				if n < 3 {
					turn <- struct{}{}
				}
			}
			if <-left {
				t.Error("gin says that the client has gone, want that the stream has ended")
			}

			res, body = v.stream("/events")
			v.line(body, "event:visit")
			res.Body.Close()
			if !<-left {
				t.Error("gin says that the stream has ended, want that the client has gone")
			}
			v.storedVisits(s, 2)
		})
	}
}

// Events pass a compressor one by one, and the cookie comes with the first.
func TestEventsThroughCompression(t *testing.T) {
	t.Parallel()
	for _, where := range []string{"outside", "inside"} {
		for _, protocol := range protocols {
			t.Run(where+", "+protocol, func(t *testing.T) {
				t.Parallel()
				s := newSetup(t)
				turn := make(steps)
				app := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					s := session.From(r)
					visits.Set(s, 1)
					w.Header().Set("Content-Type", "text/event-stream")
					for n := 1; n < 4; n++ {
						fmt.Fprintf(w, "data: %d\n", n)
						w.(http.Flusher).Flush()
						turn.wait(t, r)
						visits.Set(s, n+1)
						if err := s.Save(r.Context()); err != nil {
							t.Error(err)
						}
					}
				})
				h := http.Handler(gzhttp.GzipHandler(s.Handler(app)))
				if where == "inside" {
					h = s.Handler(gzhttp.GzipHandler(app))
				}
				v := visit(t, protocol, h)
				_, body := v.stream("/")
				for n := 1; n < 4; n++ {
					v.line(body, fmt.Sprintf("data: %d", n))
					v.storedVisits(s, n)
					turn <- struct{}{}
				}
				if _, err := body.ReadByte(); err != io.EOF {
					t.Errorf("the stream ends with %v, want EOF", err)
				}
				v.storedVisits(s, 4)
			})
		}
	}
}
