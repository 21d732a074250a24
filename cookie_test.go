package session_test

import (
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/hipflask/session"
)

// look answers with everything that a request can see of its session.
func look(w http.ResponseWriter, r *http.Request) {
	s := session.From(r)
	fmt.Fprintf(w, "%v %q %t %q %v %q", s.Keys(), s.Principal(), s.IsNew(), s.Token(), s.Err(), s.Info().Handle)
}

// dump is an answer as the client gets it.
func dump(t testing.TB, res *http.Response) string {
	t.Helper()
	var b strings.Builder
	fmt.Fprintln(&b, res.Status)
	for _, name := range slices.Sorted(maps.Keys(res.Header)) {
		fmt.Fprintf(&b, "%s: %q\n", name, res.Header[name])
	}
	return b.String() + body(t, res)
}

// kinds are the two ways to keep a session, for tests that are about cookies.
var kinds = map[string]func(*session.Config){"id": func(*session.Config) {}, "encrypted": encrypted}

// forgeries returns every text that a client can make of a valid cookie's value, except the value.
func forgeries(good string) map[string]string {
	last := good[:len(good)-1]
	list := map[string]string{
		"empty":             "",
		"blank":             "   ",
		"one byte":          "A",
		"100 KB":            strings.Repeat("A", 100<<10),
		"100 KB behind":     good + strings.Repeat("A", 100<<10),
		"4096 bytes":        strings.Repeat("A", 4096),
		"all zero":          strings.Repeat("A", len(good)),
		"only padding":      strings.Repeat("=", len(good)),
		"padded":            good + "=",
		"trailing letter":   good + "A",
		"trailing bytes":    good + "AAAA",
		"leading letter":    "A" + good,
		"cut by one":        last,
		"cut by four":       good[:len(good)-4],
		"first half":        good[:len(good)/2],
		"twice":             good + good,
		"line end inside":   good[:9] + "\n" + good[9:],
		"line end, one off": good[:9] + "\n" + good[10:],
		"carriage return":   good[:9] + "\r" + good[9:],
		"NUL inside":        good[:9] + "\x00" + good[9:],
		"NUL behind":        good + "\x00",
		"space inside":      good[:9] + " " + good[9:],
		"tab inside":        good[:9] + "\t" + good[9:],
		"percent encoding":  fmt.Sprintf("%%%02X%s", good[0], good[1:]),
		"quote open":        `"` + good,
		"quote closed":      good + `"`,
		"quoted twice":      `""` + good + `""`,
		"single quotes":     "'" + good + "'",
		"a quote alone":     `"`,
		"two quotes":        `""`,
		"comma list":        good + "," + good,
		"equals":            "=" + good,
		"name again":        "x=" + good,
		"not UTF-8":         "\xff\xfe" + good[2:],
		"invisible":         good + "\u200b",
		"byte order mark":   "\ufeff" + good,
		"no-break space":    "\u00a0" + good,
		"full width":        strings.Map(func(r rune) rune { return r + 0xfee0 }, good),
		"the secret":        secret,
		"path":              "../../../../etc/passwd",
		"SQL":               "' OR '1'='1",
		"redis":             "*1\r\n$8\r\nFLUSHALL\r\n",
		"format":            "%s%n%x%d",
		"upper case":        strings.ToUpper(good) + "a",
		"standard base64":   strings.Repeat("+/", len(good)/2) + "A",
	}
	for i := range len(good) {
		for bit := range 8 {
			b := []byte(good)
			b[i] ^= 1 << bit
			list[fmt.Sprintf("bit %d of byte %d", bit, i)] = string(b)
		}
	}
	return list
}

// Every cookie that a client can make without our key is as good as none: the same answer to the byte, and no access to
// the store (P7).
func TestForgedCookies(t *testing.T) {
	t.Parallel()
	for kind, option := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, option)
			good := b.cookie(t, func(s *session.Session) { setPlain(s); s.Login("ann") })
			none := dump(t, b.get(t, "", look))
			if with := dump(t, b.get(t, good, look)); with == none || !strings.Contains(with, `"ann"`) {
				t.Fatalf("the cookie is not valid in the first place: %s", with)
			}
			b.store.took()

			for name, v := range forgeries(value(good)) {
				for _, header := range []string{b.name + "=" + v, "a=b; " + b.name + "=" + v + "; c=d"} {
					if got := dump(t, b.get(t, header, look)); got != none {
						t.Errorf("%s: got\n%s\nwant the answer to no cookie:\n%s", name, got, none)
					}
				}
			}
			equal(t, "store", b.store.took(), nil)
			for _, e := range b.events.took() {
				if e != "rejected malformed" && e != "rejected signature" {
					t.Errorf("got event %q, want a rejection for its form or its signature", e)
				}
			}
		})
	}
}

// Only the exact name counts, at the place of a name.
func TestCookieNames(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	good := value(b.cookie(t, setPlain))
	none := dump(t, b.get(t, "", look))
	for _, header := range []string{
		"__HOST-session=" + good, "__host-session=" + good, "__Host-Session=" + good, "session=" + good,
		"x__Host-session=" + good,
		"__Host-session2=" + good, "=__Host-session=" + good, "=" + good, "__Host-session",
		good, "__Host-session:" + good,
		"__Host-session%3D" + good, "__Host%2Dsession=" + good, "__Host-session =" + good, "__Host-session\t=" + good,
		"\u2000__Host-session=" + good, "\u0085__Host-session=" + good, "\u00a0__Host-session=" + good,
		"\u3000__Host-session=" + good,
		"\x85__Host-session=" + good, "\xa0__Host-session=" + good, "\x00__Host-session=" + good,
		"\x0b__Host-session=" + good, "\x0c__Host-session=" + good,
		`"__Host-session"=` + good, `"__Host-session=` + good + `"`, "a=b, __Host-session=" + good,
		"a=b __Host-session=" + good,
		"$Version=1, __Host-session=" + good, "$__Host-session=" + good, "a=__Host-session=" + good,
		"__Host-session[]=" + good,
		strings.Repeat("__Host-session", 1000) + "=" + good, strings.Repeat(";", 10000), strings.Repeat("=", 10000),
	} {
		if got := dump(t, b.get(t, header, look)); got != none {
			t.Errorf("%.80q: got\n%s\nwant the answer to no cookie", header, got)
		}
	}
	equal(t, "store", b.store.took(), nil)
	equal(t, "events", b.events.took(), []string{})

	// RFC 6265bis, section 5.8.3, and RFC 2109's quotes, which net/http takes too.
	for _, header := range []string{
		"__Host-session=" + good, "__Host-session=" + good + " ", "\t __Host-session=" + good + "\t;",
		";;; ; __Host-session=" + good,
		`__Host-session="` + good + `"`, "a;__Host-session=" + good, `a="; __Host-session=` + good + `; b="`,
		"$Version=1; __Host-session=" + good, "__Host-session=; __Host-session=" + good,
	} {
		if got := dump(t, b.get(t, header, look)); !strings.Contains(got, "[color]") {
			t.Errorf("%.80q: got\n%s\nwant the session", header, got)
		}
	}
}

// net/http gives none of more than 3000 cookies (CVE-2025-58186). A visitor with many cookies keeps the session, and
// who sends thousands of ours costs little.
func TestManyCookies(t *testing.T) {
	t.Parallel()
	for kind, option := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, option)
			good := b.cookie(t, setPlain)
			none := dump(t, b.get(t, "", look))
			others := strings.Repeat("a=b; ", 3500)
			ours := strings.Repeat(b.name+"="+strings.Repeat("A", 43)+"; ", 3000)
			for header, found := range map[string]bool{others + good: true, good + "; " + others: true,
				good + "; " + ours: true, ours: false, ours + good: false} {
				got := dump(t, b.get(t, header, look))
				if strings.Contains(got, "[color]") != found || !found && got != none {
					t.Errorf("%d bytes: got\n%s\nwant the session: %t", len(header), got, found)
				}
			}
			// Over several lines, as HTTP/2 sends them (RFC 9113, section 8.2.3).
			r := httptest.NewRequest("GET", "/", nil)
			r.Header["Cookie"] = append(slices.Repeat([]string{"a=b"}, 3500), good)
			if got := dump(t, b.serve(t, r, look)); !strings.Contains(got, "[color]") {
				t.Errorf("several lines: got\n%s\nwant the session", got)
			}
		})
	}
}

// Cookies that other Managers made with the same or another key.
func TestForeignCookies(t *testing.T) {
	t.Parallel()
	for kind, option := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, option)
			none := dump(t, b.get(t, "", look))
			for name, change := range map[string]func(*session.Config){
				"other key":    func(c *session.Config) { c.SecretKey += "x" },
				"other name":   func(c *session.Config) { c.Cookie.Name = "__Host-other" },
				"other case":   func(c *session.Config) { c.Cookie.Name = "__Host-Session" },
				"bearer token": func(c *session.Config) { c.Store, c.CookieCodec, c.BearerToken = newSpy(), nil, true },
				"encrypted":    encrypted,
				"id":           func(c *session.Config) { c.Store, c.CookieCodec = newSpy(), nil },
			} {
				if name == kind {
					continue
				}
				other := newBench(t, option, change)
				s, err := other.Load(t.Context(), "")
				if err != nil {
					t.Fatal(err)
				}
				setPlain(s)
				if err := s.Save(t.Context()); err != nil {
					t.Fatal(err)
				}
				if got := dump(t, b.get(t, b.name+"="+s.Token(), look)); got != none {
					t.Errorf("%s: got\n%s\nwant the answer to no cookie", name, got)
				}
			}
			equal(t, "store", b.store.took(), nil)
		})
	}
}

// A cookie that was ours, but whose session is gone, costs one look into the store, and is answered as none.
func TestDeadCookies(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	none := dump(t, b.get(t, "", look))
	ended := b.cookie(t, func(s *session.Session) { s.Login("ann") })
	b.get(t, ended, func(_ http.ResponseWriter, r *http.Request) { session.From(r).Logout() })
	replaced := b.cookie(t, setPlain)
	b.get(t, replaced, func(_ http.ResponseWriter, r *http.Request) { session.From(r).Login("ann") })
	unknown := newBench(t).cookie(t, setPlain)
	for reason, cookie := range map[string]string{"ended": ended, "replaced": replaced, "unknown": unknown} {
		b.store.took()
		b.events.took()
		if got := dump(t, b.get(t, cookie, look)); got != none {
			t.Errorf("%s: got\n%s\nwant the answer to no cookie:\n%s", reason, got, none)
		}
		equal(t, reason+": store", b.store.took(), []string{"load"})
		equal(t, reason+": events", b.events.took(), []string{"rejected " + reason})

		// Nothing is adopted: what is set goes under an ID of our own.
		res := b.get(t, cookie, func(_ http.ResponseWriter, r *http.Request) { setPlain(session.From(r)) })
		began := 0
		if reason == "unknown" { // what has ended takes no changes
			began = 1
		}
		if c := res.Cookies(); len(c) != began || began == 1 && c[0].Value == value(cookie) {
			t.Errorf("%s: got the cookies %v, want %d, and not the client's ID", reason, c, began)
		}
	}
}

// Of several cookies of the name, junk hides nothing, and which of two live ones comes first decides nothing.
func TestSeveralCookies(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	live := b.cookie(t, setPlain)
	live2 := b.cookie(t, setPlain)
	unknown := newBench(t)
	dead := make([]string, 4)
	for i := range dead {
		dead[i] = unknown.cookie(t, setPlain)
	}
	ended := b.cookie(t, setPlain)
	b.get(t, ended, func(_ http.ResponseWriter, r *http.Request) { session.From(r).Logout() })
	junk := b.name + "=" + strings.Repeat("A", 43)
	expire := b.name + "=; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=0; HttpOnly; Secure; SameSite=Lax"

	for _, c := range []struct {
		name    string
		cookies []string
		found   bool
		loads   int
		events  []string
		sets    []string
	}{
		{"live and junk", []string{live, junk}, true, 1, []string{}, nil},
		{"junk and live", []string{junk, live}, true, 1, []string{}, nil},
		{"live twice", []string{live, live}, true, 1, []string{}, nil},
		{"live and unknown", []string{live, dead[0]}, true, 2, []string{}, nil},
		{"unknown and live", []string{dead[0], live}, true, 2, []string{}, nil},
		{"ended and live", []string{ended, live}, true, 2, []string{}, nil},
		{"live, ended and unknown", []string{live, ended, dead[0]}, true, 3, []string{}, nil},
		{"two live", []string{live, live2}, false, 2, []string{"rejected several"}, []string{expire}},
		{"two live, other order", []string{live2, live}, false, 2, []string{"rejected several"}, []string{expire}},
		{"two live among junk", []string{junk, live, junk, live2, junk}, false, 2, []string{"rejected several"},
			[]string{expire}},
		{"three that are gone", dead[:3], false, 3, []string{"rejected unknown"}, nil},
		{"more that verify than are looked at", dead, false, 3, []string{"rejected several"}, []string{expire}},
		{"a live one behind three that are gone", append(dead[:3:3], live), false, 3, []string{"rejected several"},
			[]string{expire}},
		{"a live one before three that are gone", append([]string{live}, dead[:3]...),
			false, 3, []string{"rejected several"}, []string{expire}},
	} {
		b.store.took()
		b.events.took()
		res := b.get(t, strings.Join(c.cookies, "; "), look)
		if got := body(t, res); strings.Contains(got, "[color]") != c.found {
			t.Errorf("%s: got %s, want the session: %t", c.name, got, c.found)
		}
		equal(t, c.name+": store", b.store.took(), slices.Repeat([]string{"load"}, c.loads))
		equal(t, c.name+": events", b.events.took(), c.events)
		equal(t, c.name+": cookies", sets(res), c.sets)
		if c.sets != nil && res.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: got Cache-Control %q, want no-store", c.name, res.Header.Get("Cache-Control"))
		}
	}
	// A new session takes the place of both, with one cookie.
	res := b.get(t, live+"; "+live2, func(_ http.ResponseWriter, r *http.Request) { session.From(r).Login("ann") })
	equal(t, "login over two", sets(res), []string{b.name + "=VALUE; Path=/; HttpOnly; Secure; SameSite=Lax"})
}

// With a Domain, the cookie of the same name for the host alone is expired too.
func TestSeveralCookiesWithDomain(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(c *session.Config) { c.Cookie.Domain, c.Cookie.Name = "example.com", "__Secure-session" })
	both := b.cookie(t, setPlain) + "; " + b.cookie(t, setPlain)
	const expire = "__Secure-session=; Path=/; %sExpires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=0; HttpOnly; " +
		"Secure; SameSite=Lax"
	host, domain := fmt.Sprintf(expire, ""), fmt.Sprintf(expire, "Domain=example.com; ")
	equal(t, "cookies", sets(b.get(t, both, look)), []string{host, domain})
	equal(t, "cookies after a change",
		sets(b.get(t, both, func(_ http.ResponseWriter, r *http.Request) { setPlain(session.From(r)) })),
		[]string{host, "__Secure-session=VALUE; Path=/; Domain=example.com; HttpOnly; Secure; SameSite=Lax"})
}
