package admin_test

import (
	"context"
	"errors"
	"fmt"
	"html"
	"io"
	"iter"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/hipflask/session"
	"github.com/hipflask/session/admin"
	"github.com/hipflask/session/sessiontest"
	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/memstore"
)

const prefix = "/admin/sessions/"

// site is a server with the page mounted below its root.
type site struct {
	*testing.T
	*session.Manager
	http.Handler
}

func newSite(t *testing.T, s store.Store, options *admin.Options) *site {
	t.Helper()
	m, err := session.New(session.Config{SecretKey: session.NewSecretKey(), Store: s, SweepInterval: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	mux := http.NewServeMux()
	mux.Handle(prefix, http.StripPrefix(strings.TrimSuffix(prefix, "/"), admin.New(m, options)))
	return &site{t, m, mux}
}

func (s *site) serve(r *http.Request) (*http.Response, string) {
	s.Helper()
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	res := w.Result()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		s.Fatal(err)
	}
	return res, string(body)
}

// get shows a page, which has to have the status.
func (s *site) get(path string, status int) string {
	s.Helper()
	res, body := s.serve(httptest.NewRequestWithContext(s.Context(), "GET", prefix+path, nil))
	if res.StatusCode != status {
		s.Fatalf("GET %s: got %d, want %d: %s", path, res.StatusCode, status, body)
	}
	return body
}

// post sends a form and returns where it leads to, below the prefix.
func (s *site) post(path string, form url.Values) string {
	s.Helper()
	r := httptest.NewRequestWithContext(s.Context(), "POST", prefix+path, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	res, body := s.serve(r)
	if res.StatusCode != http.StatusSeeOther {
		s.Fatalf("POST %s: got %d, want 303: %s", path, res.StatusCode, body)
	}
	return s.resolve(path, res.Header.Get("Location"))
}

// resolve follows a link of a page as a browser does.
func (s *site) resolve(from, link string) string {
	s.Helper()
	base, err := url.Parse("http://example.com" + prefix + from)
	if err != nil {
		s.Fatal(err)
	}
	to, err := base.Parse(link)
	if err != nil {
		s.Fatal(err)
	}
	path, ok := strings.CutPrefix(to.RequestURI(), prefix)
	if !ok {
		s.Fatalf("the link %q on %q leaves the page's prefix", link, from)
	}
	return path
}

func (s *site) has(body string, texts ...string) {
	s.Helper()
	for _, text := range texts {
		if !strings.Contains(body, text) {
			s.Errorf("the page lacks %q: %s", text, body)
		}
	}
}

func (s *site) lacks(body string, texts ...string) {
	s.Helper()
	for _, text := range texts {
		if strings.Contains(body, text) {
			s.Errorf("the page has %q: %s", text, body)
		}
	}
}

// login stores a session and returns what names it.
func (s *site) login(principal, label string) (token string, i session.Info) {
	s.Helper()
	kept, err := s.Load(s.Context(), "")
	if err != nil {
		s.Fatal(err)
	}
	kept.Set("private", "chamomile")
	if principal != "" {
		kept.Login(principal)
	}
	kept.Set("private", "chamomile")
	kept.SetLabel(label)
	if err := kept.Save(s.Context()); err != nil {
		s.Fatal(err)
	}
	return kept.Token(), kept.Info()
}

func (s *site) live(token string) bool {
	s.Helper()
	_, err := s.Load(s.Context(), token)
	if err != nil && !errors.Is(err, session.ErrEnded) {
		s.Fatal(err)
	}
	return err == nil
}

// links returns the addresses of a page that match.
func links(body, pattern string) (found []string) {
	for _, m := range regexp.MustCompile(`href="(`+pattern+`)"`).FindAllStringSubmatch(body, -1) {
		found = append(found, html.UnescapeString(m[1]))
	}
	return found
}

func TestList(t *testing.T) {
	t.Parallel()
	s := newSite(t, memstore.New(nil), nil)
	s.has(s.get("", 200), "There are no sessions.", "<title>Sessions</title>")
	token, ann := s.login("ann", "Firefox on Windows")
	s.login("", "<script>alert(1)</script>")
	body := s.get("", 200)
	s.has(body, "2 sessions", "Firefox on Windows", ">ann</a>", "<i>anonymous</i>", "&lt;script&gt;",
		"<dd>2</dd>", `aria-label="under 1 min: 2"`,
		`datetime="`+ann.LastSeenAt.UTC().Format("2006-01-02T"))
	s.lacks(body, "<script", "chamomile", token, " style=")
}

// A session that module dbsc has bound says so, in the list and where it can be ended.
func TestBound(t *testing.T) {
	t.Parallel()
	s := newSite(t, memstore.New(nil), nil)
	token, _ := s.login("ann", "Firefox on Windows")
	s.lacks(s.get("", 200), "bound to a device")
	kept, err := s.Load(s.Context(), token)
	if err != nil {
		t.Fatal(err)
	}
	session.PublicAttribute[bool]("github.com/hipflask/session/dbsc").Set(kept, true)
	if err := kept.Save(s.Context()); err != nil {
		t.Fatal(err)
	}
	body := s.get("", 200)
	s.has(body, "bound to a device")
	s.has(s.get(links(body, "end[?][^\"]*")[0], 200), "bound to a device")
}

func TestSearch(t *testing.T) {
	t.Parallel()
	s := newSite(t, memstore.New(nil), nil)
	_, ann := s.login("ann", "Firefox on Windows")
	s.login("ben", "Safari on iPhone")
	s.login("", "Firefox on Linux")
	for text, want := range map[string]string{
		"ANN": "1 with", "firefox": "2 with", ann.Handle[2:10]: "1 with", "chamomile": "Nothing has",
		"  ben ":                  "1 with",
		strings.Repeat("x", 5000): "Nothing has", `"><b>`: "Nothing has",
	} {
		s.has(s.get("?"+url.Values{"q": {text}}.Encode(), 200), want)
	}
	s.lacks(s.get("?q="+strings.Repeat("x", 5000), 200), strings.Repeat("x", 257))
	body := s.get("?q=ann&user=ben", 200)
	s.has(body, "Nothing has", "Sessions of ben")
	body = s.get("?user=ann", 200)
	s.has(body, "1 session,", "End all sessions of ann")
	s.lacks(body, "ben", "iPhone")
}

func TestEndOne(t *testing.T) {
	t.Parallel()
	for _, user := range []string{"ann", "", "a b&c=d/../?#<é>"} {
		s := newSite(t, memstore.New(nil), nil)
		token, i := s.login(user, "phone")
		other, _ := s.login(user, "desk")
		body := s.get("?q=phone", 200)
		ask := links(body, `end\?[^"]*`)
		if len(ask) != 1 {
			t.Fatalf("%q: got links %q, want one that ends the session", user, ask)
		}
		if user != "" {
			of := links(body, `\./\?user=[^"]*`)
			if len(of) != 1 {
				t.Fatalf("%q: got links %q, want one to the user", user, of)
			}
			s.has(s.get(s.resolve("", of[0]), 200), "2 sessions,", "Sessions of "+html.EscapeString(user))
		}
		ask[0] = s.resolve("", ask[0])
		page := s.get(ask[0], 200)
		s.has(page, "End this session?", i.Handle, "phone", `action="end"`)
		if !s.live(token) {
			t.Fatalf("%q: the session ended before anybody said yes", user)
		}
		form := url.Values{"user": {user}, "handle": {i.Handle}, "back": {"q=phone"}}
		to := s.post(ask[0], form)
		if to != "?ended=1&q=phone" {
			t.Errorf("%q: got %q, want the list", user, to)
		}
		s.has(s.get(to, 200), "1 session ended.", "Nothing has “phone”")
		if s.live(token) || !s.live(other) {
			t.Errorf("%q: got live %v and %v, want the first alone to be ended", user, s.live(token), s.live(other))
		}
		s.has(s.get(s.post("end", form), 200), "it had ended already")
	}
}

func TestEndNobodyElses(t *testing.T) {
	t.Parallel()
	s := newSite(t, memstore.New(nil), nil)
	token, i := s.login("ann", "")
	for _, user := range []string{"", "ben"} {
		if got := s.post("end", url.Values{"user": {user}, "handle": {i.Handle}}); got != "?ended=0" || !s.live(token) {
			t.Errorf("%q: got %q, want nothing ended", user, got)
		}
		r, _ := s.serve(httptest.NewRequestWithContext(t.Context(),
			"GET", prefix+"end?"+url.Values{"user": {user}, "handle": {i.Handle}}.Encode(), nil))
		if r.StatusCode != http.StatusSeeOther {
			t.Errorf("%q: got %d, want the way back to the list", user, r.StatusCode)
		}
	}
}

func TestEndAll(t *testing.T) {
	t.Parallel()
	s := newSite(t, memstore.New(nil), nil)
	first, _ := s.login("ann", "")
	second, _ := s.login("ann", "")
	ben, _ := s.login("ben", "")
	nobody, _ := s.login("", "")
	ask := links(s.get("?user=ann", 200), `end-all\?[^"]*`)
	if len(ask) != 1 {
		t.Fatalf("got links %q, want one", ask)
	}
	s.has(s.get(s.resolve("?user=ann", ask[0]), 200), "End all sessions of ann?", "has 2 sessions")
	to := s.post(ask[0], url.Values{"user": {"ann"}, "back": {"user=ann"}})
	s.has(s.get(to, 200), "2 sessions ended.", "There are no sessions.")
	for i, token := range []string{first, second, ben, nobody} {
		if got, want := s.live(token), i > 1; got != want {
			t.Errorf("session %d: got live %v, want %v", i, got, want)
		}
	}
	if got := s.post("end-all", url.Values{"user": {""}}); got != "?ended=0" || !s.live(nobody) {
		t.Errorf("all of nobody: got %q, want nothing ended", got)
	}
}

// Pages show every session once, those seen last first.
func TestPages(t *testing.T) {
	t.Parallel()
	kept := memstore.New(nil)
	s := newSite(t, kept, &admin.Options{PageSize: 7, Title: "Who is here"})
	now := time.Now()
	for i := range 28 { // four whole pages
		seen := now.Add(-time.Duration(i/3) * time.Minute) // three at the same time
		r := store.Record{Key: fmt.Sprint("k", i), Handle: fmt.Sprintf("h%02d", i), Label: fmt.Sprintf("L%02d", i),
			Version: 1, CreatedAt: seen, LastSeenAt: seen, ExpiresAt: now.Add(time.Hour)}
		if err := kept.Create(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	label := regexp.MustCompile(`class="label">(L\d\d)<`)
	var got []string
	path := "?q=l"
	for pages := 1; ; pages++ {
		body := s.get(path, 200)
		s.has(body, "28 with", "Who is here")
		for _, m := range label.FindAllStringSubmatch(body, -1) {
			got = append(got, m[1])
		}
		next := links(body, `[^"]*seen=[^"]*`)
		if pages == 4 {
			if len(next) > 0 {
				t.Errorf("the last page leads to %q", next)
			}
			break
		}
		if len(next) != 1 {
			t.Fatalf("page %d: got links %q, want one to the next page", pages, next)
		}
		path = s.resolve(path, next[0])
	}
	for i, l := range got {
		if want := fmt.Sprintf("L%02d", i); l != want {
			t.Errorf("row %d: got %q, want %q", i, l, want)
		}
	}
	if len(got) != 28 {
		t.Errorf("got %d rows, want 28", len(got))
	}
	s.has(s.get("?seen=1&after=x", 200), "There are no more.")
	s.has(s.get("?seen=rubbish", 200), "28 sessions")
}

// slow lists one session each time it is asked for more, for ever.
type slow struct{ store.Store }

func (s slow) Principal(ctx context.Context, _ string) iter.Seq2[store.Record, error] {
	return s.All(ctx)
}
func (s slow) All(context.Context) iter.Seq2[store.Record, error] {
	return func(yield func(store.Record, error) bool) {
		now := time.Now()
		for i := 0; yield(store.Record{Handle: fmt.Sprint(i), Principal: "ann", LastSeenAt: now, CreatedAt: now,
			ExpiresAt: now.Add(time.Hour)}, nil); i++ {
		}
	}
}

// A list without an end is shown as far as patience goes.
func TestPatience(t *testing.T) {
	t.Parallel()
	s := newSite(t, slow{memstore.New(nil)}, &admin.Options{Patience: 20 * time.Millisecond})
	s.has(s.get("", 200), "reading the list was stopped after these")
	s.has(s.get("end-all?user=ann", 200), "more than 10,000 sessions")
}

func TestOutage(t *testing.T) {
	t.Parallel()
	fail := &sessiontest.FailStore{Store: memstore.New(nil)}
	s := newSite(t, fail, nil)
	token, i := s.login("ann", "")
	fail.Fail(errors.New("tcp 10.0.0.7: password rejected"))
	for _, path := range []string{"", "?user=ann", "end?user=ann&handle=" + i.Handle, "end-all?user=ann"} {
		body := s.get(path, http.StatusServiceUnavailable)
		s.has(body, `role="alert"`)
		s.lacks(body, "10.0.0.7", "password")
	}
	for _, path := range []string{"end", "end-all"} {
		r := httptest.NewRequestWithContext(t.Context(), "POST",
			prefix+path, strings.NewReader("user=ann&handle="+i.Handle))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if res, body := s.serve(r); res.StatusCode != http.StatusServiceUnavailable ||
			strings.Contains(body, "10.0.0.7") {
			t.Errorf("POST %s: got %d, want 503 without the store's words: %s", path, res.StatusCode, body)
		}
	}
	fail.Fail(nil)
	if !s.live(token) {
		t.Error("the session has ended")
	}
}

func TestStoreWithoutList(t *testing.T) {
	t.Parallel()
	s := newSite(t, struct{ store.Store }{memstore.New(nil)}, nil)
	s.has(s.get("", http.StatusNotImplemented), "can&#39;t list them")
}

func TestHeadersAndOtherSites(t *testing.T) {
	t.Parallel()
	s := newSite(t, memstore.New(nil), nil)
	token, i := s.login("ann", "")
	res, _ := s.serve(httptest.NewRequestWithContext(t.Context(), "GET", prefix, nil))
	for name, want := range map[string]string{
		"Content-Security-Policy": "default-src 'none'; style-src 'self'; form-action 'self'; base-uri " +
			"'none'; frame-ancestors 'none'",
		"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "same-origin",
		"Content-Type": "text/html; charset=utf-8",
	} {
		if got := res.Header.Get(name); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	for _, path := range []string{"end", "end-all"} {
		r := httptest.NewRequestWithContext(t.Context(), "POST",
			prefix+path, strings.NewReader("user=ann&handle="+i.Handle))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Sec-Fetch-Site", "cross-site")
		if res, _ := s.serve(r); res.StatusCode != http.StatusForbidden || !s.live(token) {
			t.Errorf("POST %s from another site: got %d, want 403 and nothing ended", path, res.StatusCode)
		}
	}
	if res, body := s.serve(httptest.NewRequestWithContext(t.Context(), "GET", prefix+"style.css",
		nil)); res.StatusCode != 200 || !strings.Contains(body, "prefers-color-scheme") {
		t.Errorf("style.css: got %d: %s", res.StatusCode, body)
	}
}

// The sessions of the user who is named exactly come first, on all pages, even if the whole list is too long to be
// read.
func TestExactUserFirst(t *testing.T) {
	t.Parallel()
	kept := memstore.New(nil)
	s := newSite(t, kept, &admin.Options{PageSize: 3})
	now := time.Now()
	for i := range 60 {
		user, seen := fmt.Sprint("user", i), now.Add(-time.Duration(i%7)*time.Minute)
		if i >= 50 {
			user, seen = "user5", now.Add(-time.Hour) // seen before all others
		}
		r := store.Record{Key: fmt.Sprint("k", i), Handle: fmt.Sprintf("h%02d", i), Principal: user,
			Version: 1, CreatedAt: seen, LastSeenAt: seen, ExpiresAt: now.Add(time.Hour)}
		if err := kept.Create(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	row := regexp.MustCompile(`class="user"><a [^>]*>(user\d+)<`)
	var got []string
	for path := "?q=user5"; path != ""; {
		body := s.get(path, 200)
		s.has(body, "11 with")
		for _, m := range row.FindAllStringSubmatch(body, -1) {
			got = append(got, m[1])
		}
		next := links(body, `[^"]*seen=[^"]*`)
		if path = ""; len(next) > 0 {
			path = s.resolve("", next[0])
		}
	}
	if want := strings.TrimSpace(strings.Repeat("user5 ", 11)); strings.Join(got, " ") != want {
		t.Errorf("got %q, want %q", got, want)
	}
	body := s.get("?q=user", 200)
	s.lacks(body, "those of user first")
	s.has(s.get("?q=user5", 200), "those of user5 first")
	s.has(body, `name="user"`, `accesskey="n"`, "60 with")
	s.has(s.get("?user=user5", 200), "11 sessions,")
	if strings.Index(body, "Next page") > strings.Index(body, "<table") {
		t.Error("the way to the next page comes after all rows")
	}

	endless := newSite(t, longTail{kept}, &admin.Options{Patience: 20 * time.Millisecond, PageSize: 5})
	body = endless.get("?q=user5", 200)
	if got := len(row.FindAllString(body, -1)); got != 5 {
		t.Errorf("of a list without an end: got %d rows of the user, want 5", got)
	}
}

// longTail lists others for ever.
type longTail struct{ *memstore.Store }

func (s longTail) All(ctx context.Context) iter.Seq2[store.Record, error] { return slow{nil}.All(ctx) }

// The events of what an administrator ends name the administrator.
func TestEventsNameTheAdministrator(t *testing.T) {
	t.Parallel()
	for name, who := range map[string]func(*http.Request) string{"root": nil, "carol": func(*http.Request) string {
		return "carol"
	}} {
		var events []session.Event
		m := sessiontest.New(t, func(c *session.Config) {
			c.OnEvent = func(_ context.Context, e session.Event) {
				if e.Kind == session.EventRevoked {
					events = append(events, e)
				}
			}
		})
		page := admin.New(m, &admin.Options{Prefix: "/sessions/", Administrator: who})
		mux := http.NewServeMux()
		mux.Handle("/sessions/", page)
		h := m.Handler(mux)
		var handles []string
		for _, user := range []string{"ann", "", "ben"} {
			sessiontest.Request(t, m, httptest.NewRequest("GET", "/", nil), func(s *session.Session) {
				if s.Set("a", 1); user != "" {
					s.Login(user)
				}
				handles = append(handles, s.Info().Handle)
			})
		}
		for path, form := range map[string]url.Values{
			"end?1": {"user": {"ann"}, "handle": {handles[0]}}, "end?2": {"user": {""}, "handle": {handles[1]}},
			"end-all": {"user": {"ben"}},
		} {
			r := httptest.NewRequest("POST", "/sessions/"+path, strings.NewReader(form.Encode()))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			r = sessiontest.Request(t, m, r, sessiontest.LoggedIn("root", 0))
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if w.Code != http.StatusSeeOther || !strings.Contains(w.Header().Get("Location"), "ended=1") {
				t.Errorf("%s: got %d to %q", path, w.Code, w.Header().Get("Location"))
			}
		}
		if len(events) != 3 {
			t.Errorf("%s: got %d events, want 3", name, len(events))
		}
		for _, e := range events {
			if e.Actor != name {
				t.Errorf("got actor %q, want %q", e.Actor, name)
			}
		}
	}
}

func TestPrefix(t *testing.T) {
	t.Parallel()
	m := sessiontest.New(t)
	for _, prefix := range []string{"/a/b", "/a/b/"} {
		page := admin.New(m, &admin.Options{Prefix: prefix})
		for path, want := range map[string]int{"/a/b/": 200, "/a/b/style.css": 200, "/a/b": http.StatusMovedPermanently,
			"/": 404, "/a/bc": 404} {
			w := httptest.NewRecorder()
			page.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
			if w.Code != want {
				t.Errorf("%s, %s: got %d, want %d", prefix, path, w.Code, want)
			}
		}
	}
}
