package dbsc_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hipflask/session"
	"github.com/hipflask/session/dbsc"
)

// encrypted keeps sessions in cookies.
func encrypted(c *settings) { c.session.Store, c.session.CookieCodec = nil, session.EncryptedCookie }

// The whole exchange, as the draft has it.
func TestExchange(t *testing.T) {
	for name, options := range map[string][]func(*settings){"store": nil, "encrypted cookie": {encrypted}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				x := newSite(t, options...)
				b := newBrowser(t, x)
				res := b.send("POST", "/login")
				offer := res.Header.Get("Secure-Session-Registration")
				challenge := parameter(offer, "challenge=")
				if want := `(ES256 RS256);path="/dbsc/register";challenge="` + challenge + `"`; offer != want ||
					challenge == "" {
					t.Errorf("got registration %q, want %q", offer, want)
				}
				if cache := res.Header.Get("Cache-Control"); cache != "no-store" {
					t.Errorf("got Cache-Control %q with a challenge, want no-store", cache)
				}
				res = b.send("POST", "/dbsc/register", "Secure-Session-Response", `"`+b.proof(challenge, true)+`"`)
				var got struct {
					ID         string `json:"session_identifier"`
					RefreshURL string `json:"refresh_url"`
					Continue   bool
					Scope      struct {
						IncludeSite *bool `json:"include_site"`
					}
					Credentials []struct{ Type, Name, Attributes string }
				}
				if err := json.NewDecoder(res.Body).Decode(&got); err != nil {
					t.Fatalf("registration: %s: %v", res.Status, err)
				}
				c := got.Credentials
				if got.ID == "" || got.RefreshURL != "/dbsc/refresh" || !got.Continue || got.Scope.IncludeSite == nil ||
					*got.Scope.IncludeSite ||
					len(c) != 1 || c[0].Type != "cookie" || c[0].Name != boundCookie ||
					c[0].Attributes != "Path=/; HttpOnly; Secure; SameSite=Lax" {
					t.Errorf("got session instructions %+v", got)
				}
				bound := cookieOf(res, boundCookie)
				if bound == nil || bound.MaxAge != int(life.Seconds()) || bound.Path != "/" || !bound.Secure ||
					!bound.HttpOnly ||
					bound.SameSite != http.SameSiteLaxMode || bound.Domain != "" {
					t.Errorf("got bound cookie %+v", bound)
				}
				b.id = got.ID
				for header, want := range map[string]string{
					"Cache-Control": "no-store", "Content-Type": "application/json",
					"Cross-Origin-Resource-Policy": "same-origin", "X-Frame-Options": "DENY",
				} {
					if got := res.Header.Get(header); got != want {
						t.Errorf("registration: got %s %q, want %q", header, got, want)
					}
				}

				for range 3 {
					time.Sleep(life)
					delete(b.cookies, boundCookie) // its Max-Age is over
					wantsStatus(t, "refresh", b.refresh(), http.StatusOK, true)
					b.wants("after a refresh", "ann")
				}
				equal(t, "events", x.took(),
					[]string{"offered  ann", "bound  ann", "refreshed  ann", "refreshed  ann", "refreshed  ann"})

				b.send("POST", "/logout")
				if len(b.cookies) > 0 {
					t.Errorf("after Logout: got cookies %v, want none", b.cookies)
				}
				wantsEnd(t, "refresh after Logout", b.refresh())
				b.wants("after Logout", "")
				equal(t, "events", x.took(), []string{"ended"})
			})
		})
	}
}

func cookieOf(res *http.Response, name string) *http.Cookie {
	for _, c := range res.Cookies() {
		if c.Name == name {
			return c
		}
	}
	return nil
}

// A copy of all cookies is refused after Life and Skew, for reading and for writing, and gets no new bound cookie. The
// session itself notices nothing.
func TestCopyIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newSite(t)
		b := newBrowser(t, x)
		b.bind()
		thief := b.thief()
		thief.wants("a copy at once", "ann")
		time.Sleep(life + skew)
		thief.wants("a copy at the end of Life and Skew", "ann")
		wantsStatus(t, "the browser's own refresh", b.refresh(), http.StatusOK, true)
		time.Sleep(time.Millisecond)
		x.took()
		x.store.took()

		thief.wants("a copy after Life and Skew", "")
		if got := body(t, thief.send("POST", "/set")); got != "done" {
			t.Errorf("a write with a copy: got %q", got)
		}
		if got := thief.send("GET", "/strict").StatusCode; got != http.StatusUnauthorized {
			t.Errorf("Require with a copy: got status %d, want 401", got)
		}
		wantsStatus(t, "a refresh with another key", thief.refresh(), http.StatusUnauthorized, false)
		thief.send("POST", "/logout")
		delete(thief.cookies, boundCookie)
		thief.wants("a copy of the session's cookie alone", "")
		equal(t, "events", x.took(), []string{
			"refused expired ann", "refused expired ann", "refused expired ann", "refused proof ann",
			"refused expired ann", "refused missing ann"})
		equal(t, "operations", x.store.took(), []string{"load", "load", "load", "load", "load", "load"})

		b.wants("the browser", "ann")
		var color any
		sessiontestRead(t, x, b, func(s *session.Session) { color, _ = s.Get("color") })
		if color != nil {
			t.Errorf("the thief's write: got color %v, want none", color)
		}
	})
}

// sessiontestRead shows the browser's session.
func sessiontestRead(t *testing.T, x *site, b *browser, f func(*session.Session)) {
	t.Helper()
	s, err := x.sessions.Load(t.Context(), b.cookies[sessionCookie])
	if err != nil {
		t.Fatal(err)
	}
	f(s)
}

// Requests that the browser sent before it had the bound cookie arrive after the registration: without a bound cookie,
// or with that of an earlier login.
func TestRequestsInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newSite(t)
		b := newBrowser(t, x)
		b.bind()
		challenge := b.login()
		before := b.thief()
		without := b.thief()
		delete(without.cookies, boundCookie)
		if res := b.register(challenge); res.StatusCode != http.StatusOK {
			t.Fatal(res.Status)
		}
		x.took()
		before.wants("with the bound cookie of the login before", "ann")
		without.wants("without a bound cookie", "ann")
		time.Sleep(skew + time.Millisecond)
		before.wants("with that bound cookie, after Skew", "")
		without.wants("without a bound cookie, after Skew", "")
		equal(t, "events", x.took(), []string{"refused forged ann", "refused missing ann"})
	})
}

// Whoever has only the session's cookie can't register a key: no response but that to the Login has a challenge, which
// is good for Window, and the first key stays.
func TestThiefRegistersFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newSite(t)
		b := newBrowser(t, x)
		challenge := b.login()
		thief := b.thief()
		for _, path := range []string{"/me", "/static", "/strict"} {
			if h := thief.send("GET", path).Header; h.Get("Secure-Session-Registration") != "" ||
				h.Get("Secure-Session-Challenge") != "" {
				t.Errorf("%s: the response has a challenge", path)
			}
		}
		other := newBrowser(t, x)
		x.took()
		others := other.login()
		wantsStatus(t, "with a challenge for another session", thief.register(others), http.StatusForbidden, false)
		wantsStatus(t, "with no challenge", thief.register("x"), http.StatusForbidden, false)
		time.Sleep(window + time.Millisecond)
		wantsStatus(t, "with the right challenge after Window", thief.register(challenge), http.StatusForbidden, false)
		equal(t, "events", x.took(), []string{"offered  ann", "refused challenge ann", "refused challenge ann",
			"refused stale ann"})

		challenge = b.login()
		thief = b.thief()
		wantsStatus(t, "the browser's registration", b.register(challenge), http.StatusOK, true)
		wantsStatus(t, "a second registration with the right challenge", thief.register(challenge),
			http.StatusForbidden, false)
		wantsStatus(t, "the browser's refresh", b.refresh(), http.StatusOK, true)
		equal(t, "events", x.took(), []string{"offered  ann", "bound  ann", "refused taken ann", "refreshed  ann"})

		stranger := newBrowser(t, x)
		wantsStatus(t, "without a session", stranger.register(challenge), http.StatusForbidden, false)
		equal(t, "events", x.took(), []string{"refused anonymous"})
	})
}

// Of two registrations that overlap one wins, and the other one is told so.
func TestRegistrationsOverlap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var shared session.Config
		x := newSite(t, func(c *settings) { shared = c.session })
		server := newSite(t, func(c *settings) { c.session = shared }) // in one process they would take turns
		b := newBrowser(t, x)
		challenge := b.login()
		two := b.thief()
		two.site = server
		x.took()
		x.store.replace = func() { // the first one has read the session
			wantsStatus(t, "the second registration", two.register(challenge), http.StatusOK, true)
		}
		wantsStatus(t, "the first registration, which is stored later", b.register(challenge),
			http.StatusForbidden, false)
		equal(t, "events", append(server.took(), x.took()...), []string{"bound  ann", "refused taken ann"})
		wantsStatus(t, "the refresh", two.refresh(), http.StatusOK, true)
		b.id = two.id
		wantsStatus(t, "the other key's refresh", b.refresh(), http.StatusUnauthorized, false)
	})
}

// No response but that to a Login offers a registration, so that a thief who makes the session get a new ID has no
// challenge.
func TestRenewOffersNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newSite(t)
		b := newBrowser(t, x)
		b.login()
		if offer := b.send("POST", "/renew").Header.Get("Secure-Session-Registration"); offer != "" {
			t.Errorf("after Renew: got registration %q, want none", offer)
		}
	})
}

// A binding counts in the session alone that it was made for.
func TestBindingOfAnotherSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newSite(t)
		ann, other := newBrowser(t, x), newBrowser(t, x)
		ann.bind()
		other.login()
		const binding = session.Attribute[string]("github.com/hipflask/session/dbsc")
		var copied string
		sessiontestRead(t, x, ann, func(s *session.Session) { copied, _ = binding.Get(s) })
		sessiontestRead(t, x, other, func(s *session.Session) {
			binding.Set(s, copied)
			if err := s.Save(t.Context()); err != nil {
				t.Fatal(err)
			}
		})
		time.Sleep(skew + time.Millisecond)
		other.cookies[boundCookie], other.id, other.key = ann.cookies[boundCookie], ann.id, ann.key
		ann.wants("its own", "ann")
		other.wants("with the binding of another session", "")
		wantsEnd(t, "its refresh", other.refresh())
	})
}

// With the path "/" the endpoints are two paths beside those of the application.
func TestPathRoot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newSite(t)
		device, err := dbsc.New(x.sessions, dbsc.Options{Path: "/"})
		if err != nil {
			t.Fatal(err)
		}
		b := newBrowser(t, x)
		b.bind()
		time.Sleep(life + skew + time.Millisecond)
		mux := http.NewServeMux()
		mux.Handle("POST /refresh", device)
		mux.HandleFunc("GET /me", whoami)
		b.site = x.sessions.Handler(device.Middleware(mux))
		b.wants("a page", "")
		wantsStatus(t, "a refresh", b.send("POST", "/refresh", "Sec-Secure-Session-Id", b.id,
			"Secure-Session-Response", b.proof(at(x, "refresh", b.id, 0), false)), http.StatusOK, true)
		b.wants("a page after it", "ann")
	})
}

// A proof can be used again within Window, and not after it.
func TestReplay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newSite(t)
		b := newBrowser(t, x)
		b.bind()
		proof := b.proof(b.challenge(), false)
		wantsStatus(t, "a proof", b.answer(proof), http.StatusOK, true)
		thief := b.thief()
		time.Sleep(window)
		wantsStatus(t, "the same at the end of Window", thief.answer(proof), http.StatusOK, true)
		time.Sleep(time.Millisecond)
		x.store.took()
		res := thief.answer(proof)
		wantsStatus(t, "the same after Window", res, http.StatusForbidden, false)
		if res.Header.Get("Secure-Session-Challenge") == "" {
			t.Error("the browser gets no new challenge for a stale one")
		}
		equal(t, "operations for a stale proof", x.store.took(), nil)
	})
}

// Neither another session's proof, nor another one's cookie, nor a registration's challenge counts.
func TestOthersProof(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newSite(t)
		ann, bob := newBrowser(t, x), newBrowser(t, x)
		registered := ann.login()
		if res := ann.register(registered); res.StatusCode != http.StatusOK {
			t.Fatal(res.Status)
		}
		bob.bind()
		time.Sleep(skew + time.Millisecond)
		x.took()
		challenge := bob.challenge()
		wantsStatus(t, "another session's challenge", ann.answer(ann.proof(challenge, false)),
			http.StatusForbidden, false)
		wantsStatus(t, "a registration's challenge", ann.answer(ann.proof(registered, false)),
			http.StatusForbidden, false)
		wantsStatus(t, "another key, also one that the proof brings", ann.answer(bob.proof(ann.challenge(), true)),
			http.StatusUnauthorized, false)
		equal(t, "events", x.took(), []string{"refused challenge ann", "refused challenge ann", "refused proof ann"})
		bobs := bob.cookies[boundCookie]
		anns := ann.cookies[boundCookie]
		// the same bytes: the last character has two bits too many
		twin := anns[:len(anns)-1] + string(anns[len(anns)-1]+1)
		for what, value := range map[string]string{
			"another session's": bobs, "another text for the same": twin, "empty": "",
			"cut": ann.cookies[boundCookie][:20], "a challenge": ann.challenge(), "long": strings.Repeat("x", 1000),
		} {
			mallory := ann.thief()
			mallory.cookies[boundCookie] = value
			mallory.wants(what+" bound cookie", "")
			if got := x.took(); len(got) != 1 || got[0] != "refused forged ann" {
				t.Errorf("%s bound cookie: got events %q", what, got)
			}
		}
		ann.cookies[boundCookie+"2"] = bobs
		ann.wants("beside a cookie whose name begins as ours does", "ann")
		mallory := ann.thief()
		mallory.id, _, _ = strings.Cut(ann.id, ".")
		mallory.id += ".X"
		wantsEnd(t, "a refresh with an identifier of one's own", mallory.answer(ann.proof(mallory.challenge(), false)))
		mallory.id = bob.id
		wantsEnd(t, "a refresh with another session's cookies", mallory.answer(bob.proof(challenge, false)))
	})
}

// at returns a token of another server, whose clock is ahead.
func at(x *site, purpose, subject string, ahead time.Duration) string {
	stamp := strconv.FormatInt(time.Now().Add(ahead).UnixMilli(), 36)
	return stamp + "." + encode(x.sessions.Sign("github.com/hipflask/session/dbsc "+purpose, []byte(subject+" "+stamp)))
}

// Servers' clocks may differ by Skew.
func TestClocksApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newSite(t)
		b := newBrowser(t, x)
		b.bind()
		time.Sleep(skew + time.Millisecond)
		x.took()
		for ahead, want := range map[time.Duration]string{
			skew: "ann", skew + time.Second: "", -life - skew: "ann", -life - skew - time.Second: "",
		} {
			b.cookies[boundCookie] = at(x, "cookie", b.id, ahead)
			b.wants("bound cookie of a clock "+ahead.String()+" ahead", want)
		}
		for ahead, want := range map[time.Duration]int{
			skew: http.StatusOK, skew + time.Second: http.StatusForbidden, -window: http.StatusOK,
			-window - time.Second: http.StatusForbidden,
		} {
			proof := b.proof(at(x, "refresh", b.id, ahead), false)
			wantsStatus(t, "challenge of a clock "+ahead.String()+" ahead", b.answer(proof),
				want, want == http.StatusOK)
		}
	})
}

// Clear and Renew keep the binding, a Login drops it, and the old one's key is forgotten.
func TestLifeOfTheBinding(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newSite(t)
		b := newBrowser(t, x)
		b.bind()
		old := b.thief()
		old.key = b.key
		b.send("POST", "/set")
		b.send("POST", "/clear")
		b.send("POST", "/renew")
		if old.cookies[sessionCookie] == b.cookies[sessionCookie] {
			t.Fatal("Renew kept the ID")
		}
		time.Sleep(skew + time.Millisecond) // still within Grace
		b.wants("after Clear and Renew", "ann")
		old.wants("with the ID before Renew, within Grace", "ann")
		wantsStatus(t, "a refresh with the ID before Renew", old.refresh(), http.StatusOK, true)
		wantsStatus(t, "a refresh after Renew", b.refresh(), http.StatusOK, true)

		late := b.thief()
		late.key = b.key
		challenge := b.login()
		res := late.refresh()
		wantsStatus(t, "a refresh that arrives with the ID before a Login", res, http.StatusServiceUnavailable, false)
		if res.Header.Get("Retry-After") == "" {
			t.Error("got no Retry-After")
		}
		wantsEnd(t, "a refresh of the old binding after Login", b.refresh())
		wantsStatus(t, "the new registration", b.register(challenge), http.StatusOK, true)
		time.Sleep(time.Hour)
		delete(b.cookies, boundCookie)
		wantsStatus(t, "a refresh after an hour", b.refresh(), http.StatusOK, true)
		b.wants("after an hour", "ann")
	})
}

// A session that ends while it is refreshed stays ended.
func TestEndDuringRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, end := range map[string]func(x *site, b *browser){
			"RevokeAll": func(x *site, b *browser) {
				if n, err := x.sessions.RevokeAll(t.Context(), "ann"); n != 1 || err != nil {
					t.Errorf("RevokeAll: got %d, %v", n, err)
				}
			},
			"Logout": func(x *site, b *browser) { b.thief().send("POST", "/logout") },
		} {
			x := newSite(t)
			b := newBrowser(t, x)
			b.bind()
			x.during = func(dbsc.Event) { end(x, b) } // after the session was read, before the response
			wantsStatus(t, name+" during a refresh", b.refresh(), http.StatusOK, true)
			b.wants("after "+name, "")
			wantsEnd(t, "the next refresh after "+name, b.refresh())
		}
	})
}

// An outage of the store must not make the browser forget its key, whatever the application sends for errors.
func TestOutageDuringRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newSite(t, func(c *settings) {
			c.session.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, _ error) {
				w.WriteHeader(http.StatusBadRequest)
			}
		})
		b := newBrowser(t, x)
		b.bind()
		x.failing.Fail(errors.New("down"))
		res := b.refresh()
		wantsStatus(t, "a refresh in an outage", res, http.StatusServiceUnavailable, false)
		if res.Header.Get("Retry-After") == "" {
			t.Error("got no Retry-After")
		}
		x.failing.Fail(nil)
		time.Sleep(life + skew + time.Millisecond)
		x.took()
		delete(b.cookies, boundCookie)
		b.send("GET", "/me", "Secure-Session-Skipped", `server_error;session_identifier="`+b.id+`"`)
		wantsStatus(t, "a refresh after it", b.refresh(), http.StatusOK, true)
		b.wants("after the outage", "ann")
		equal(t, "events", x.took(), []string{"skipped server_error ann", "refreshed  ann"})
	})
}

// What the browser says of a refresh that it skipped is an event, and no excuse.
func TestSkipped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newSite(t)
		b := newBrowser(t, x)
		b.bind()
		time.Sleep(life + skew)
		delete(b.cookies, boundCookie)
		x.took()
		for field, want := range map[string]string{
			`quota_exceeded;session_identifier="` + b.id + `"`:                        "skipped quota_exceeded ann",
			`x;session_identifier="1", unreachable;session_identifier="` + b.id + `"`: "skipped unreachable ann",
			`<script>`: "refused missing ann",
		} {
			if got := body(t, b.send("GET", "/me", "Secure-Session-Skipped", field)); got != "hello " {
				t.Errorf("%s: got %q, want nobody", field, got)
			}
			equal(t, "events for "+field, x.took(), []string{want})
		}
	})
}

// Two tabs may refresh at the same time, with the same proof or with one each, and the earlier cookie stays good.
func TestTwoTabs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newSite(t)
		one := newBrowser(t, x)
		one.bind()
		two := one.thief()
		two.key = one.key
		time.Sleep(life)
		a, b := one.challenge(), two.challenge()
		wantsStatus(t, "the first tab", one.answer(one.proof(a, false)), http.StatusOK, true)
		time.Sleep(time.Second)
		wantsStatus(t, "the second tab", two.answer(two.proof(b, false)), http.StatusOK, true)
		one.wants("the first tab", "ann")
		two.wants("the second tab", "ann")
	})
}

// A refresh reads the session once, whichever way it goes, and is no activity.
func TestRefreshCosts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newSite(t, func(c *settings) { c.session.IdleTimeout = time.Hour })
		b := newBrowser(t, x)
		b.bind()
		for range 11 {
			time.Sleep(life)
			x.store.took()
			wantsStatus(t, "refresh", b.refresh(), http.StatusOK, true)
			equal(t, "operations of a refresh", x.store.took(), []string{"load"})
		}
		b.send("GET", "/static")
		equal(t, "operations of a request that doesn't look at its session", x.store.took(), nil)
		b.wants("after 55 minutes", "ann")
		equal(t, "operations of a request", x.store.took(), []string{"load", "touch"})
		for range 12 {
			time.Sleep(life)
			b.refresh()
		}
		b.wants("after an hour in which the browser only refreshed", "")
		wantsEnd(t, "a refresh after that", b.refresh())
	})
}

// Bound cookies and challenges outlive a change of the secret key, if the old one is a fallback.
func TestKeyRotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var old, fresh session.Config
		key := session.NewSecretKey()
		x := newSite(t, func(c *settings) { c.session.SecretKey, old = key, c.session })
		b := newBrowser(t, x)
		b.bind()
		challenge := b.challenge()
		time.Sleep(skew + time.Millisecond)
		rotated := newSite(t, func(c *settings) {
			c.session.Store, c.session.SecretKeyFallbacks, fresh = old.Store, []string{key}, c.session
		})
		without := newSite(t, func(c *settings) { c.session.Store, c.session.SecretKey = old.Store, fresh.SecretKey })
		b.site = rotated
		b.wants("with the old key as a fallback", "ann")
		b.site = without
		b.wants("without the old key", "")
		b.site = rotated
		wantsStatus(t, "a challenge signed with the fallback", b.answer(b.proof(challenge, false)), http.StatusOK, true)
		b.wants("with a new bound cookie", "ann")
		equal(t, "events", append(x.took(), rotated.took()...),
			[]string{"offered  ann", "bound  ann", "refreshed  ann"})
	})
}

// A page that was opened by a link of another origin is opened once more: for such a request the browser refreshes
// nothing.
func TestLinkFromElsewhere(t *testing.T) {
	navigation := func(site string) []string {
		return []string{"Sec-Fetch-Site", site, "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"}
	}
	synctest.Test(t, func(t *testing.T) {
		x := newSite(t)
		b := newBrowser(t, x)
		b.bind()
		time.Sleep(life + skew)
		delete(b.cookies, boundCookie)
		x.took()
		for _, site := range []string{"cross-site", "same-site"} {
			res := b.send("GET", "/me", navigation(site)...)
			if text := body(t, res); res.Header.Get("Refresh") != "0" || strings.Contains(text, "hello") ||
				!strings.Contains(res.Header.Get("Vary"), "Cookie") || res.Header.Get("Cache-Control") != "no-store" {
				t.Errorf("%s: got %v %q, want a page that is opened again, for this cookie, in no cache",
					site, res.Header, text)
			}
		}
		equal(t, "events", x.took(), nil)
		for _, header := range [][]string{
			navigation("same-origin"), navigation("none"),
			append(navigation("cross-site"), "Secure-Session-Skipped", "quota_exceeded"),
			{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors", "Sec-Fetch-Dest", "image"},
		} {
			if res := b.send("GET", "/me", header...); res.Header.Get("Refresh") != "" || body(t, res) != "hello " {
				t.Errorf("%v: got %v, want the page for nobody", header, res.Header)
			}
		}
		x.took()
		wantsStatus(t, "refresh", b.refresh(), http.StatusOK, true)
		anonymous, unbound := newBrowser(t, x), newBrowser(t, x)
		unbound.login()
		for want, c := range map[string]*browser{"ann": b, "": anonymous, "ann ": unbound} {
			if got := body(t, c.send("GET", "/me", navigation("cross-site")...)); got != "hello "+
				strings.TrimSpace(want) {
				t.Errorf("got %q, want %q", got, "hello "+want)
			}
		}
	})
}

func TestPolicyRequire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newSite(t, func(c *settings) { c.device.Policy = dbsc.Require })
		b := newBrowser(t, x)
		challenge := b.login()
		b.wants("right after the login", "ann")
		without := b.thief()
		pending := without.cookies[boundCookie]
		delete(without.cookies, boundCookie)
		wantsStatus(t, "registration", b.register(challenge), http.StatusOK, true)
		unbound, copied := newBrowser(t, x), newBrowser(t, x)
		unbound.login()
		copied.cookies[sessionCookie] = unbound.cookies[sessionCookie]
		copied.wants("a copy of the session's cookie alone", "")
		copied.cookies[boundCookie] = pending
		copied.wants("with the bound cookie of another login", "")
		x.took()
		time.Sleep(window + skew)
		unbound.wants("unbound, within Window and Skew", "ann")
		b.wants("bound", "ann")
		time.Sleep(time.Millisecond)
		unbound.wants("unbound, after that", "")
		without.wants("without the bound cookie", "")
		equal(t, "events", x.took(), []string{"refused unbound ann", "refused missing ann"})
		unbound.login()
		unbound.wants("after another login", "ann")
		unbound.send("POST", "/logout")
		if len(unbound.cookies) > 0 {
			t.Errorf("after Logout: got cookies %v, want none", unbound.cookies)
		}
	})
}

// The time of a login at another system doesn't count for how long the registration is waited for.
func TestRequireAfterFederatedLogin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newSite(t, func(c *settings) { c.device.Policy = dbsc.Require })
		b := newBrowser(t, x)
		offer := b.send("POST", "/federated").Header.Get("Secure-Session-Registration")
		time.Sleep(window)
		b.wants("before the registration", "ann")
		wantsStatus(t, "the registration", b.register(parameter(offer, "challenge=")), http.StatusOK, true)
		b.wants("after it", "ann")
	})
}

// Elevate gives the session a new ID at once. The binding stays, and a refresh that was sent with the old ID does no
// harm.
func TestElevate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newSite(t, func(c *settings) { c.device.Level = 2 })
		b := newBrowser(t, x)
		b.bind()
		late := b.thief()
		late.key = b.key
		if offer := b.send("POST", "/elevate").Header.Get("Secure-Session-Registration"); offer != "" {
			t.Errorf("a session that is bound is offered a registration: %s", offer)
		}
		if late.cookies[sessionCookie] == b.cookies[sessionCookie] {
			t.Fatal("Elevate kept the ID")
		}
		wantsStatus(t, "a refresh with the ID before", late.refresh(), http.StatusServiceUnavailable, false)
		b.wants("after Elevate", "ann")
		time.Sleep(life)
		wantsStatus(t, "a refresh after Elevate", b.refresh(), http.StatusOK, true)
		b.wants("after the refresh", "ann")
		late.wants("with the ID before Elevate", "")
	})
}

// With Options.Level a session of that level has to be bound, which Elevate gives another chance for.
func TestLevel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newSite(t, func(c *settings) { c.device.Level = 2 })
		can, cannot := newBrowser(t, x), newBrowser(t, x)
		can.login()
		cannot.login()
		time.Sleep(window + skew + time.Millisecond)
		can.wants("unbound, at the level of the login", "ann")
		x.took()
		offer := can.send("POST", "/elevate").Header.Get("Secure-Session-Registration")
		cannot.send("POST", "/elevate")
		cannot.wants("unbound, right after Elevate", "ann")
		if offer := can.send("POST", "/renew").Header.Get("Secure-Session-Registration"); offer != "" {
			t.Errorf("Renew during an elevation: got registration %q, want none", offer)
		}
		wantsStatus(t, "the registration after Elevate", can.register(parameter(offer, "challenge=")),
			http.StatusOK, true)
		time.Sleep(window + skew + time.Millisecond)
		can.wants("bound, elevated", "ann")
		cannot.wants("unbound, elevated", "")
		equal(t, "events", x.took(), []string{"offered  ann", "offered  ann", "bound  ann", "refused unbound ann"})
		time.Sleep(elevation)
		cannot.wants("unbound, after the elevation", "ann")
	})
}

// A session that Config.Adopt takes over is offered a registration, as after any other Login.
func TestAdopt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newSite(t, func(c *settings) {
			c.device.Policy = dbsc.Require
			c.session.Adopt = func(_ *http.Request, s *session.Session) error {
				s.Login("ann")
				return nil
			}
		})
		b := newBrowser(t, x)
		res := b.send("GET", "/me")
		if got := body(t, res); got != "hello ann" {
			t.Errorf("got %q, want ann", got)
		}
		b.register(parameter(res.Header.Get("Secure-Session-Registration"), "challenge="))
		equal(t, "events", x.took(), []string{"offered  ann", "bound  ann"})
	})
}

func TestRequireRoute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newSite(t)
		b := newBrowser(t, x)
		wants := func(what string, status int) {
			t.Helper()
			if got := b.send("GET", "/strict"); got.StatusCode != status {
				t.Errorf("%s: got status %d, want %d", what, got.StatusCode, status)
			}
		}
		wants("anonymous", http.StatusUnauthorized)
		challenge := b.login()
		if res := b.send("GET", "/strict"); res.StatusCode != http.StatusServiceUnavailable ||
			res.Header.Get("Refresh") != "1" || res.Header.Get("Retry-After") != "1" {
			t.Errorf("before the registration: got %s %v, want 503 and a repetition after a second",
				res.Status, res.Header)
		}
		b.register(challenge)
		wants("bound", http.StatusOK)
		x.failing.Fail(errors.New("down"))
		wants("in an outage", http.StatusServiceUnavailable)
		x.failing.Fail(nil)
		b.login()
		time.Sleep(window + skew + time.Millisecond)
		x.took()
		wants("unbound", http.StatusForbidden)
		b.wants("unbound, elsewhere", "ann")
		equal(t, "events", x.took(), []string{"refused unbound ann"})

		// It needs no middleware.
		b.bind()
		delete(b.cookies, boundCookie)
		time.Sleep(skew + time.Millisecond)
		b.site = x.sessions.Handler(x.device.Require(http.HandlerFunc(whoami)))
		wants("a copy, without the middleware", http.StatusUnauthorized)

		own, err := dbsc.New(x.sessions,
			dbsc.Options{Refuse: func(w http.ResponseWriter, r *http.Request, reason dbsc.Reason) {
				w.WriteHeader(http.StatusTeapot)
				io.WriteString(w, string(reason))
			}})
		if err != nil {
			t.Fatal(err)
		}
		b.site = x.sessions.Handler(own.Require(http.HandlerFunc(whoami)))
		if got := b.get("/"); got != "missing" {
			t.Errorf("Options.Refuse: got %q, want the reason", got)
		}
	})
}

// Lists show that a session is bound, and never the key.
func TestListsShowIt(t *testing.T) {
	x := newSite(t)
	b, other := newBrowser(t, x), newBrowser(t, x)
	b.bind()
	other.login()
	bound := 0
	for i, err := range x.sessions.Sessions(t.Context(), "ann") {
		if err != nil {
			t.Fatal(err)
		}
		if is, _ := dbsc.Bound.Of(i); is {
			bound++
		}
	}
	if bound != 1 {
		t.Errorf("got %d bound sessions of 2, want 1", bound)
	}
}

func TestEndpoints(t *testing.T) {
	x := newSite(t)
	b := newBrowser(t, x)
	b.bind()
	for _, c := range []struct {
		method, path string
		status       int
		header       []string
	}{
		{"GET", "/dbsc/register", http.StatusMethodNotAllowed, nil},
		{"GET", "/dbsc/refresh", http.StatusMethodNotAllowed, nil},
		{"POST", "/dbsc/", http.StatusNotFound, nil},
		{"POST", "/dbsc/refresh", http.StatusBadRequest, nil},
		{"POST", "/dbsc/refresh", http.StatusBadRequest, []string{"Sec-Secure-Session-Id", `x";a="b`}},
		{"POST", "/dbsc/refresh", http.StatusBadRequest, []string{"Sec-Secure-Session-Id", strings.Repeat("x", 1000)}},
		{"POST", "/dbsc/refresh", http.StatusForbidden, []string{"Sec-Secure-Session-Id", `"` + b.id + `"`}},
	} {
		res := b.send(c.method, c.path, c.header...)
		if res.StatusCode != c.status || res.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s %s %q: got %s %v, want status %d", c.method, c.path, c.header,
				res.Status, res.Header, c.status)
		}
		if strings.Count(res.Header.Get("Secure-Session-Challenge"), `"`) > 4 {
			t.Errorf("%q: got challenge %s", c.header, res.Header.Get("Secure-Session-Challenge"))
		}
	}
}

func TestOptions(t *testing.T) {
	x := newSite(t)
	for name, o := range map[string]dbsc.Options{
		"Path": {Path: "/dbsc"}, "Path ": {Path: `/"x/`}, "Path  ": {Path: "/../"}, "Path   ": {Path: "//"},
		"Path    ": {Path: "/a/./"}, "CookieName": {CookieName: "bound"}, "CookieName ": {CookieName: "__Host-a;b"},
		"SameSite": {SameSite: 9}, "Life": {Life: time.Millisecond}, "Life ": {Life: 25 * time.Hour},
		"Life  ": {Life: -1}, "Skew": {Skew: -1},
		"Skew ": {Skew: 6 * time.Minute}, "Window": {Window: -1}, "Window ": {Window: time.Hour}, "Policy": {Policy: 7},
		"Level": {Level: -1}, "Level ": {Level: 4},
		"Initiators": {Initiators: []string{"https://a"}}, "Initiators ": {Initiators: []string{"*"}},
	} {
		if _, err := dbsc.New(x.sessions, o); err == nil || !strings.Contains(err.Error(), strings.TrimSpace(name)) {
			t.Errorf("%s %+v: got error %v, want one about it", name, o, err)
		}
	}
	_, err := dbsc.New(nil, dbsc.Options{Life: -1, Window: -1})
	if err == nil || strings.Count(err.Error(), "\n") != 3 { // Skew as well: it is more than such a Life
		t.Errorf("got %v, want all problems", err)
	}
	for name, o := range map[string]dbsc.Options{
		"zero": {}, "root": {Path: "/"}, "well known": {Path: "/.well-known/dbsc/"}, "all": {Path: "/a/b-c/",
			CookieName: "__Host-x", SameSite: http.SameSiteStrictMode, Life: time.Second, Window: time.Second,
			Policy: dbsc.Require, Level: 3, Initiators: []string{"app.example.com", "*.example.com"}},
	} {
		if _, err := dbsc.New(x.sessions, o); err != nil {
			t.Errorf("%s: got error %v", name, err)
		}
	}
}
