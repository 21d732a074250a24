package session_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/hipflask/session"
	"github.com/hipflask/session/store/memstore"
)

// Writers of other people, as far as they tell that the header was sent.
type (
	tellsWritten struct { // gin, negroni
		http.ResponseWriter
		written bool
	}
	tellsSize struct { // gorilla/handlers
		w    http.ResponseWriter
		size int
	}
	tellsCommitted struct { // echo
		w         http.ResponseWriter
		Committed bool
	}
	embeds  struct{ http.ResponseWriter }
	unwraps struct{ w http.ResponseWriter }
)

func (w *tellsWritten) Written() bool { return w.written }
func (w *tellsWritten) Write(b []byte) (int, error) {
	w.written = true
	return w.ResponseWriter.Write(b)
}
func (w *tellsSize) Header() http.Header { return w.w.Header() }
func (w *tellsSize) WriteHeader(c int)   { w.w.WriteHeader(c) }
func (w *tellsSize) Status() int         { return 200 }
func (w *tellsSize) Size() int           { return w.size }
func (w *tellsSize) Write(b []byte) (int, error) {
	w.size += len(b)
	return w.w.Write(b)
}
func (w *tellsCommitted) Header() http.Header { return w.w.Header() }
func (w *tellsCommitted) WriteHeader(c int) {
	w.Committed = true
	w.w.WriteHeader(c)
}
func (w *tellsCommitted) Write(b []byte) (int, error) {
	w.Committed = true
	return w.w.Write(b)
}
func (w unwraps) Header() http.Header         { return w.w.Header() }
func (w unwraps) WriteHeader(c int)           { w.w.WriteHeader(c) }
func (w unwraps) Write(b []byte) (int, error) { return w.w.Write(b) }
func (w unwraps) Unwrap() http.ResponseWriter { return w.w }

// A home-made adapter lets the handlers write to the writer around the Handler: the header leaves without the cookie.
func TestWriterUsedBehindTheHandler(t *testing.T) {
	t.Parallel()
	for name, around := range map[string]func(http.ResponseWriter) http.ResponseWriter{
		"the server's": func(w http.ResponseWriter) http.ResponseWriter { return w },
		"Written": func(w http.ResponseWriter) http.ResponseWriter {
			return &tellsWritten{ResponseWriter: struct{ http.ResponseWriter }{w}}
		},
		"Size":          func(w http.ResponseWriter) http.ResponseWriter { return &tellsSize{w: w} },
		"Committed":     func(w http.ResponseWriter) http.ResponseWriter { return &tellsCommitted{w: w} },
		"embedding":     func(w http.ResponseWriter) http.ResponseWriter { return embeds{embeds{w}} },
		"Unwrap":        func(w http.ResponseWriter) http.ResponseWriter { return unwraps{&unwraps{w}} },
		"all of a sort": func(w http.ResponseWriter) http.ResponseWriter { return unwraps{&embeds{unwraps{w}}} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var log bytes.Buffer
			b := newBench(t, logTo(&log), func(c *session.Config) {
				c.InsecureHTTP, c.Cookie.Name, c.Store = true, "session", memstore.New(nil)
			})
			server := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w = around(w)
				b.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
					s := session.From(r)
					s.Login("ann")
					if r.URL.Path == "/save" {
						if err := s.Save(r.Context()); err != nil {
							t.Error(err)
						}
					}
					io.WriteString(w, "ann")
				})).ServeHTTP(w, r)
			})
			eachProtocol(t, server, func(t *testing.T, c *wire) {
				for _, path := range []string{"/", "/save"} {
					check(t, path+": body", body(t, c.get(t, path, "")), "ann")
				}
			})
			t.Cleanup(func() { // when all protocols are through
				events := b.events.took()
				if late, logins := count(events, "too late"), count(events, "login"); late != 6 || logins != 3 ||
					count(events, "read late") != 6 {
					t.Errorf("got %d too late and %d logins (of Save) in %q, want 6 and 3", late, logins, events)
				}
				for _, err := range b.All(context.WithoutCancel(t.Context())) {
					t.Errorf("a session is left that no client has, %v", err)
				}
				if !strings.Contains(log.String(), "has to pass the http.ResponseWriter") {
					t.Errorf("got the log %q, want it to name the adapter's mistake", log.String())
				}
			})
		})
	}
}

// What needs no cookie is saved even then, and what can't be saved cuts the connection: it can't be replaced any more.
func TestSavesBehindTheHandler(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(c *session.Config) { c.InsecureHTTP, c.Cookie.Name = true, "session" })
	cookie := b.cookie(t, func(s *session.Session) { s.Login("ann") })
	eachProtocol(t, http.HandlerFunc(func(outer http.ResponseWriter, r *http.Request) {
		b.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			session.Key[int]("n").Update(session.From(r), func(n int) int { return n + 1 })
			if r.URL.Path == "/bad" {
				session.From(r).Set("bad", func() {})
			}
			io.WriteString(outer, "ann")
			if r.URL.RawQuery != "" {
				io.WriteString(w, "more")
			}
		})).ServeHTTP(outer, r)
	}), func(t *testing.T, c *wire) {
		check(t, "body", body(t, c.get(t, "/", cookie)), "ann")
		for _, path := range []string{"/bad", "/bad?more"} {
			res, err := c.Do(c.request(t, "GET", path, cookie))
			if err == nil {
				_, err = io.ReadAll(res.Body)
				res.Body.Close()
			}
			if err == nil {
				t.Errorf("%s: a response that should have been replaced arrived whole", path)
			}
		}
	})
	t.Cleanup(func() {
		b.get(t, cookie, func(_ http.ResponseWriter, r *http.Request) {
			check(t, "contents", contents(session.From(r)), "ann: [n=3]")
		})
	})
}

// A router's error handler answers after the Handler has returned, by the Handler's writer: its changes are saved too.
func TestAnswerAfterTheHandler(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	var writer http.ResponseWriter
	var inside *http.Request
	handler := b.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		writer, inside = w, r
		if r.URL.Path == "/read" {
			session.From(r).Len()
		}
	}))
	for _, path := range []string{"/read", "/untouched"} {
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		s := session.From(inside)
		s.Flash("sorry")
		s.Login("ann")
		http.Redirect(writer, inside, "/login", http.StatusSeeOther)
		setPlain(s) // too late for nobody: it needs no cookie, but nobody saves it
		res := w.Result()
		check(t, "status", res.StatusCode, http.StatusSeeOther)
		check(t, "cookies", len(res.Cookies()), 1)
		check(t, "Vary", res.Header.Get("Vary"), "Cookie")
		equal(t, path+": events", b.events.took(), []string{"login"})
		b.get(t, res.Cookies()[0].Name+"="+res.Cookies()[0].Value, func(_ http.ResponseWriter, r *http.Request) {
			check(t, "contents", contents(session.From(r)), "ann: [_flashes=[[message sorry]]]")
		})
	}

	b.store.fail(down("create"), nil)
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, httptest.NewRequest("GET", "/read", nil))
	session.From(inside).Login("ann")
	http.Redirect(writer, inside, "/login", http.StatusSeeOther)
	check(t, "status in an outage", w.Code, http.StatusServiceUnavailable)
}
