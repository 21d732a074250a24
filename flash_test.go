package session_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/hipflask/session"
)

// flashed shows the messages of a request, and takes them away.
func (c *visitor) flashed(m *session.Manager) (all string) {
	c.t.Helper()
	c.do(m, func(s *session.Session) { all = fmt.Sprint(s.Flashes()) })
	return all
}

func TestFlashes(t *testing.T) {
	t.Parallel()
	m, c := server(t), newVisitor(t)
	c.do(m, func(s *session.Session) {
		check(t, "none", len(s.Flashes()), 0)
		s.Flash("saved")
		s.Flash("full", "error")
		s.Flash("<b>", "a", "ignored")
		s.Flash("", "")
	})
	c.do(m, func(s *session.Session) {
		check(t, "messages", fmt.Sprintf("%q", s.Flashes()),
			`[{"message" "saved"} {"error" "full"} {"a" "<b>"} {"" ""}]`)
		check(t, "messages, asked again", len(s.Flashes()), 0)
	})
	check(t, "next request", c.flashed(m), "[]")
}

// A message that is set and read in one request never reaches the store.
func TestFlashInOneRequest(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	res := b.get(t, "", func(_ http.ResponseWriter, r *http.Request) {
		s := session.From(r)
		s.Flash("now")
		check(t, "messages", fmt.Sprint(s.Flashes()), "[{message now}]")
	})
	silent(t, "answer", res)
	equal(t, "store", b.store.took(), nil)
}

// What is flashed after the messages were read is for the next page.
func TestFlashAfterFlashes(t *testing.T) {
	t.Parallel()
	m, c := server(t), newVisitor(t)
	c.do(m, func(s *session.Session) { s.Flash("first") })
	c.do(m, func(s *session.Session) {
		s.Flash("second")
		check(t, "messages", fmt.Sprint(s.Flashes()), "[{message first} {message second}]")
		s.Flash("third")
	})
	check(t, "next request", c.flashed(m), "[{message third}]")
}

func TestFlashesOfOverlappingRequests(t *testing.T) {
	t.Parallel()
	const n = 12
	ms, c := servers(t, 3), newVisitor(t)
	c.do(ms[0], func(s *session.Session) { s.Flash("first") })
	c.overlap(ms, n, func(i int, s *session.Session) { s.Flash(fmt.Sprint("from ", i)) })
	c.do(ms[1], func(s *session.Session) {
		list := s.Flashes()
		check(t, "messages", len(list), n+1)
		text := fmt.Sprint(list)
		for i := range n {
			check(t, fmt.Sprint("message ", i), strings.Count(text, fmt.Sprintf("from %d}", i)), 1)
		}
	})
}

// Reading takes away what was read, and nothing that another request added meanwhile.
func TestFlashesKeepWhatCameLater(t *testing.T) {
	t.Parallel()
	ms, c := servers(t, 2), newVisitor(t)
	c.do(ms[0], func(s *session.Session) { s.Flash("first") })
	slow := c.start(ms[0], func(v *visit, s *session.Session) {
		check(t, "messages", fmt.Sprint(s.Flashes()), "[{message first}]")
		v.pause()
	})
	c.do(ms[1], func(s *session.Session) { s.Flash("second") })
	slow.finish()
	check(t, "next request", c.flashed(ms[0]), "[{message second}]")
	check(t, "the one after", c.flashed(ms[1]), "[]")
}

// Logout, a message for the page that comes next, and a redirect to it.
func TestLogoutAndFlash(t *testing.T) {
	t.Parallel()
	m, c := server(t), newVisitor(t)
	c.do(m, func(s *session.Session) { s.Login("ann"); s.Set("cart", 1) })
	before := c.copy()
	v := c.start(m, func(v *visit, s *session.Session) {
		s.Logout()
		s.Flash("You are logged out.")
		http.Redirect(v.out, v.r, "/", http.StatusSeeOther)
	})
	res := v.finish()
	check(t, "status", res.StatusCode, http.StatusSeeOther)
	check(t, "Set-Cookie", len(res.Cookies()), 1)
	if c.value() == "" || c.value() == before.value() {
		t.Errorf("got the cookie %q after %q, want a new one", c.value(), before.value())
	}
	before.want([]*session.Manager{m}, "the old cookie", nothing)
	c.do(m, func(s *session.Session) {
		check(t, "principal", s.Principal(), "")
		check(t, "message", fmt.Sprint(s.Flashes()), "[{message You are logged out.}]")
		check(t, "values", s.Len(), 0)
	})
}

// A template that reads them after its first byte: they are read once all the same.
func TestFlashesAfterTheFirstByte(t *testing.T) {
	t.Parallel()
	m, c := server(t), newVisitor(t)
	c.do(m, func(s *session.Session) { s.Flash("first") })
	c.start(m, func(v *visit, s *session.Session) {
		fmt.Fprint(v.out, "<html>")
		check(t, "messages", fmt.Sprint(s.Flashes()), "[{message first}]")
	}).finish()
	check(t, "next request", c.flashed(m), "[]")
}

func TestFlashesThatAreNone(t *testing.T) {
	t.Parallel()
	for _, value := range []any{"text", 7, []any{}, []any{"a"}, []any{[]any{"a"}}, []any{[]any{"a", "b", "c"}},
		map[string]any{}, nil} {
		m, c := server(t), newVisitor(t)
		c.do(m, func(s *session.Session) { s.Set("_flashes", value) })
		check(t, fmt.Sprintf("messages of %v", value), c.flashed(m), "[]")
		c.do(m, func(s *session.Session) { s.Flash("new") })
		check(t, fmt.Sprintf("message after %v", value), c.flashed(m), "[{message new}]")
	}
}
