package session_test

import (
	"errors"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/hipflask/session"
	"github.com/hipflask/session/store/memstore"
)

// valid is a Config that New takes.
func valid() session.Config {
	return session.Config{SecretKey: secret, Store: memstore.New(nil)}
}

// problems returns the single errors of a joined one.
func problems(err error) (list []error) {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range joined.Unwrap() {
			list = append(list, problems(e)...)
		}
		return list
	}
	if err == nil {
		return nil
	}
	return []error{err}
}

const years50 = 50 * 365 * 24 * time.Hour

// Every setting, just within its bounds and just outside. want: what the one error has to say, the setting's name, the
// bound and the way out; nothing if New takes the Config.
func TestConfigBounds(t *testing.T) {
	t.Parallel()
	type config = session.Config
	for _, c := range []struct {
		name string
		set  func(*config)
		want []string
	}{
		{"defaults", func(c *config) {}, nil},

		{"no key", func(c *config) { c.SecretKey = "" }, []string{"SecretKey", "is empty", "NewSecretKey"}},
		{"key of 15 bytes", func(c *config) {
			c.SecretKey = "k9Vd0zQx7Lw3Tb1"
		}, []string{"SecretKey", "15 bytes", "at least 16", "NewSecretKey"}},
		{"key of 16 bytes", func(c *config) { c.SecretKey = "k9Vd0zQx7Lw3Tb1m" }, nil},
		{"key of one letter", func(c *config) {
			c.SecretKey = strings.Repeat("x", 64)
		}, []string{"SecretKey", "guessable", "NewSecretKey"}},
		{"key of any bytes", func(c *config) { c.SecretKey = "\x00\xff\xfe\x01 \n\t\x7f8Vd0zQx7" }, nil},
		{"short fallback", func(c *config) { c.SecretKeyFallbacks = []string{secret + "a", "short"} },
			[]string{"SecretKeyFallbacks[1]", "5 bytes", "at least 16"}},
		{"empty fallback", func(c *config) {
			c.SecretKeyFallbacks = []string{""}
		}, []string{"SecretKeyFallbacks[0]", "is empty"}},
		{"good fallbacks", func(c *config) { c.SecretKeyFallbacks = []string{secret + "a", secret + "b"} }, nil},

		{"an old cookie of our name", func(c *config) {
			c.Adopt, c.AdoptCookie = func(*http.Request, *session.Session) error { return nil }, "__Host-session"
		}, []string{"AdoptCookie", "__Host-session", "Cookie.Name"}},
		{"an old cookie of our name without https", func(c *config) {
			c.Adopt, c.AdoptCookie = func(*http.Request, *session.Session) error { return nil }, "session"
			c.InsecureHTTP = true
		}, []string{"AdoptCookie", "session", "Cookie.Name"}},
		{"an old cookie of another name", func(c *config) {
			c.Adopt, c.AdoptCookie = func(*http.Request, *session.Session) error { return nil }, "session"
		}, nil},
		{"an old cookie without Adopt", func(c *config) {
			c.AdoptCookie = "old"
		}, []string{"AdoptCookie", "Adopt is nil", "both"}},

		{"no idle timeout", func(c *config) { c.IdleTimeout = -1 }, nil},
		{"idle timeout without unit", func(c *config) {
			c.IdleTimeout = 1800
		}, []string{"IdleTimeout", "1.8µs", "1ms", "30*time.Minute"}},
		{"idle timeout under 1ms", func(c *config) {
			c.IdleTimeout = time.Millisecond - 1
		}, []string{"IdleTimeout", "999.999µs", "1ms"}},
		{"idle timeout of 1ms", func(c *config) { c.IdleTimeout = time.Millisecond }, nil},
		{"idle timeout as Lifetime", func(c *config) { c.IdleTimeout, c.Lifetime = time.Hour, time.Hour }, nil},
		{"idle timeout over Lifetime", func(c *config) { c.IdleTimeout, c.Lifetime = time.Hour+1, time.Hour },
			[]string{"IdleTimeout", "1h0m0.000000001s", "longer than Lifetime 1h0m0s", "leave it zero"}},
		{"idle timeout over the default Lifetime", func(c *config) { c.IdleTimeout = 31 * 24 * time.Hour },
			[]string{"IdleTimeout", "longer than Lifetime 720h0m0s"}},
		{"idle timeout without Lifetime", func(c *config) { c.IdleTimeout, c.Lifetime = 31*24*time.Hour, -1 }, nil},
		{"idle timeout of 50 years", func(c *config) { c.IdleTimeout, c.Lifetime = years50, -1 }, nil},
		{"Lifetime under the default idle timeout", func(c *config) { c.Lifetime = time.Minute }, nil},
		{"no Lifetime", func(c *config) { c.Lifetime = -1 }, nil},
		{"Lifetime under 1ms", func(c *config) { c.Lifetime = time.Millisecond - 1 }, []string{"Lifetime", "1ms"}},
		{"Lifetime of 1ms", func(c *config) { c.Lifetime = time.Millisecond }, nil},
		{"Lifetime of 50 years", func(c *config) { c.Lifetime = years50 }, nil},
		{"Lifetime over 50 years", func(c *config) {
			c.Lifetime = years50 + 1
		}, []string{"Lifetime", "50 years", "negative value means none"}},
		{"Lifetime of the longest Duration", func(c *config) {
			c.Lifetime = math.MaxInt64
		}, []string{"Lifetime", "50 years"}},

		{"a sliding login", func(c *config) {
			c.PersistentIdleTimeout, c.PersistentLifetime = 60*24*time.Hour, -1
		}, nil},
		{"persistent idle timeout negative", func(c *config) {
			c.PersistentIdleTimeout = -1
		}, []string{"PersistentIdleTimeout", "negative", "zero for none"}},
		{"persistent idle timeout under 1ms", func(c *config) {
			c.PersistentIdleTimeout = 30
		}, []string{"PersistentIdleTimeout", "1ms"}},
		{"persistent idle timeout over 50 years", func(c *config) {
			c.PersistentIdleTimeout, c.PersistentLifetime = years50+1, -1
		},
			[]string{"PersistentIdleTimeout", "50 years", "shorten it"}},
		{"persistent idle timeout as Lifetime", func(c *config) { c.PersistentIdleTimeout = 30 * 24 * time.Hour }, nil},
		{"persistent idle timeout over Lifetime", func(c *config) { c.PersistentIdleTimeout = 31 * 24 * time.Hour },
			[]string{"PersistentIdleTimeout 744h0m0s", "720h0m0s", "PersistentLifetime"}},
		{"persistent idle timeout over PersistentLifetime", func(c *config) {
			c.PersistentIdleTimeout, c.PersistentLifetime = 2*time.Hour, time.Hour
		},
			[]string{"PersistentIdleTimeout 2h0m0s", "1h0m0s"}},
		{"PersistentLifetime under 1ms", func(c *config) {
			c.PersistentLifetime = 30
		}, []string{"PersistentLifetime", "1ms"}},
		{"PersistentLifetime over 50 years", func(c *config) { c.PersistentLifetime = years50 + 1 },
			[]string{"PersistentLifetime", "50 years", "negative value means none"}},
		{"PersistentLifetime under Lifetime", func(c *config) { c.PersistentLifetime = time.Hour }, nil},

		{"StoreTimeout negative", func(c *config) {
			c.StoreTimeout = -1
		}, []string{"StoreTimeout", "negative", "zero for 5s"}},
		{"StoreTimeout under 1ms", func(c *config) {
			c.StoreTimeout = time.Millisecond - 1
		}, []string{"StoreTimeout", "1ms"}},
		{"StoreTimeout of 1ms", func(c *config) { c.StoreTimeout = time.Millisecond }, nil},
		{"StoreTimeout as the default Grace", func(c *config) { c.StoreTimeout = 2 * time.Minute }, nil},
		{"StoreTimeout over the default Grace", func(c *config) { c.StoreTimeout = 2*time.Minute + 1 },
			[]string{"Grace 2m0s", "StoreTimeout 2m0.000000001s"}},
		{"Grace negative", func(c *config) { c.Grace = -1 }, []string{"Grace", "negative", "zero for 2m0s"}},
		{"Grace as StoreTimeout", func(c *config) { c.Grace = 5 * time.Second }, nil},
		{"Grace under StoreTimeout", func(c *config) {
			c.Grace = 5*time.Second - 1
		}, []string{"Grace", "shorter than StoreTimeout 5s"}},
		{"Grace of 50 years", func(c *config) { c.Grace = years50 }, nil},
		{"Grace over 50 years", func(c *config) { c.Grace = years50 + 1 }, []string{"Grace", "50 years", "shorten it"}},

		{"no sweeps", func(c *config) { c.SweepInterval = -1 }, nil},
		{"SweepInterval under 1ms", func(c *config) {
			c.SweepInterval = time.Millisecond - 1
		}, []string{"SweepInterval", "1ms"}},
		{"SweepInterval of 1ms", func(c *config) { c.SweepInterval = time.Millisecond }, nil},
		{"MaxBytes negative", func(c *config) {
			c.MaxBytes = -1
		}, []string{"MaxBytes -1", "negative", "zero for 1048576"}},
		{"MaxBytes of 1", func(c *config) { c.MaxBytes = 1 }, nil},

		{"codec alone", func(c *config) { c.Store, c.CookieCodec = nil, session.EncryptedCookie }, nil},
		{"codec and store", func(c *config) {
			c.CookieCodec = session.EncryptedCookie
		}, []string{"Store", "CookieCodec", "exclude"}},
		{"codec and bearer", func(c *config) {
			c.Store, c.CookieCodec, c.BearerToken = nil, session.EncryptedCookie, true
		},
			[]string{"BearerToken", "CookieCodec", "exclude"}},
		{"codec and ID format", func(c *config) {
			c.Store, c.CookieCodec, c.IDFormat = nil, session.EncryptedCookie, session.SignedID
		},
			[]string{"IDFormat", "CookieCodec", "exclude"}},
		{"codec and serializer", func(c *config) {
			c.Store, c.CookieCodec, c.Serializer = nil, session.EncryptedCookie, session.JSON
		},
			[]string{"Serializer", "CookieCodec", "exclude"}},
		{"codec with short key", func(c *config) {
			c.Store, c.CookieCodec, c.SecretKey = nil, session.EncryptedCookie, "short"
		},
			[]string{"SecretKey", "5 bytes", "at least 16"}},
		{"bearer", func(c *config) { c.BearerToken = true }, nil},
		{"bearer and cookie", func(c *config) {
			c.BearerToken, c.Cookie.Name = true, "sid"
		}, []string{"BearerToken", "Cookie", "exclude", "leave"}},
		{"bearer and persistent", func(c *config) {
			c.BearerToken, c.Cookie.Persistent = true, true
		}, []string{"BearerToken", "Cookie"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			config := valid()
			c.set(&config)
			wantProblem(t, config, c.want)
		})
	}
}

// wantProblem makes a Manager of config, and wants one error that holds all of these texts; none for none.
func wantProblem(t *testing.T, config session.Config, want []string) {
	t.Helper()
	m, err := session.New(config)
	if m != nil {
		defer m.Close()
	}
	if (m == nil) == (err == nil) {
		t.Fatalf("got a Manager: %t, and error %v; want one of them", m != nil, err)
	}
	found := problems(err)
	if len(want) == 0 && err != nil || len(want) > 0 && len(found) != 1 {
		t.Fatalf("got %d problems: %v, want one that says %q", len(found), err, want)
	}
	for _, text := range want {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("got %q, want it to say %q", err, text)
		}
	}
	if err != nil && (!strings.HasPrefix(err.Error(), "session: ") || strings.HasSuffix(err.Error(), ".") ||
		strings.Contains(err.Error(), "%!")) {
		t.Errorf("got %q, want session: and no full stop", err)
	}
}

func TestConfigCookieRules(t *testing.T) {
	t.Parallel()
	type cookie = session.Cookie
	long := strings.Repeat("x", 1100)
	for _, c := range []struct {
		name     string
		cookie   cookie
		insecure bool
		want     []string
	}{
		{name: "host prefix", cookie: cookie{Name: "__Host-sid"}},
		{name: "host prefix and path /", cookie: cookie{Name: "__Host-sid", Path: "/"}},
		{name: "host prefix and domain", cookie: cookie{Name: "__Host-sid", Domain: "example.com"},
			want: []string{"Name", "Domain", "__Secure-"}},
		{name: "host prefix and path", cookie: cookie{Name: "__Host-sid", Path: "/app"},
			want: []string{"Name", "Path", "__Secure-"}},
		{name: "host prefix in other case", cookie: cookie{Name: "__hOST-sid", Path: "/app"},
			want: []string{"Name", "Path", "__Secure-"}},
		{name: "host prefix over http", cookie: cookie{Name: "__Host-sid"}, insecure: true,
			want: []string{"Name", "https", "InsecureHTTP"}},
		{name: "secure prefix", cookie: cookie{Name: "__Secure-sid", Path: "/app", Domain: "example.com"}},
		{name: "secure prefix over http", cookie: cookie{Name: "__SECURE-sid"}, insecure: true,
			want: []string{"Name", "https", "InsecureHTTP"}},
		{name: "http prefix over http", cookie: cookie{Name: "__Http-sid"}, insecure: true,
			want: []string{"Name", "https", "InsecureHTTP"}},
		{name: "host-http prefix and domain", cookie: cookie{Name: "__Host-Http-sid", Domain: "example.com"},
			want: []string{"Name", "Domain"}},
		{name: "name of one", cookie: cookie{Name: "s"}},
		{name: "name of 256", cookie: cookie{Name: long[:256]}},
		{name: "name of 257", cookie: cookie{Name: long[:257]}, want: []string{"Name", "1 to 256"}},
		{name: "name with space", cookie: cookie{Name: "my session"}, want: []string{"Name", "letters"}},
		{name: "name with =", cookie: cookie{Name: "a=b"}, want: []string{"Name", "letters"}},
		{name: "name with ;", cookie: cookie{Name: "a;b"}, want: []string{"Name", "letters"}},
		{name: "name with line end", cookie: cookie{Name: "a\r\nSet-Cookie: b"}, want: []string{"Name", "letters"}},
		{name: "name beyond ASCII", cookie: cookie{Name: "sitzüng"}, want: []string{"Name", "letters"}},
		{name: "name of all token characters", cookie: cookie{Name: "aZ09!#$%&'*+-.^_`|~"}},

		{name: "domain", cookie: cookie{Domain: "example.com"}},
		{name: "domain with dot", cookie: cookie{Domain: ".example.com"}},
		{name: "domain with port", cookie: cookie{Domain: "example.com:8080"}, want: []string{"Domain", "port"}},
		{name: "domain with scheme", cookie: cookie{Domain: "https://example.com"}, want: []string{"Domain", "scheme"}},
		{name: "domain with star", cookie: cookie{Domain: "*.example.com"}, want: []string{"Domain"}},
		{name: "domain with ;", cookie: cookie{Domain: "example.com; Path=/x"}, want: []string{"Domain"}},
		{name: "domain with space", cookie: cookie{Domain: "example com"}, want: []string{"Domain"}},
		{name: "domain with line end", cookie: cookie{Domain: "example.com\n"}, want: []string{"Domain"}},
		{name: "domain beyond ASCII", cookie: cookie{Domain: "exämple.com"}, want: []string{"Domain"}},
		{name: "domain of dots", cookie: cookie{Domain: ".."}, want: []string{"Domain"}},
		{name: "domain with underscore", cookie: cookie{Domain: "a_b.example.com"},
			want: []string{"Domain", "a_b.example.com"}},
		{name: "domain too long", cookie: cookie{Domain: long + ".com"}, want: []string{"Domain", "1024"}},

		{name: "path", cookie: cookie{Path: "/app"}},
		{name: "path without slash", cookie: cookie{Path: "app"}, want: []string{"Path", `"/"`}},
		{name: "path of 1024", cookie: cookie{Path: "/" + long[:1023]}},
		{name: "path of 1025", cookie: cookie{Path: "/" + long[:1024]}, want: []string{"Path", "1024"}},
		{name: "path with ;", cookie: cookie{Path: "/a; Domain=example.com"}, want: []string{"Path"}},
		{name: "path with line end", cookie: cookie{Path: "/a\n"}, want: []string{"Path"}},
		{name: "path beyond ASCII", cookie: cookie{Path: "/ü"}, want: []string{"Path"}},

		{name: "lax", cookie: cookie{SameSite: http.SameSiteLaxMode}},
		{name: "strict", cookie: cookie{SameSite: http.SameSiteStrictMode}, insecure: true},
		{name: "none", cookie: cookie{SameSite: http.SameSiteNoneMode}},
		{name: "none over http", cookie: cookie{SameSite: http.SameSiteNoneMode},
			insecure: true, want: []string{"SameSite", "https"}},
		{name: "default mode", cookie: cookie{SameSite: http.SameSiteDefaultMode},
			want: []string{"SameSite 1", "Lax", "zero"}},
		{name: "SameSite 5", cookie: cookie{SameSite: 5}, want: []string{"SameSite 5", "Lax, Strict and None"}},
		{name: "SameSite negative", cookie: cookie{SameSite: -1}, want: []string{"SameSite -1"}},
		{name: "partitioned", cookie: cookie{Partitioned: true}},
		{name: "partitioned and strict", cookie: cookie{Partitioned: true, SameSite: http.SameSiteStrictMode}},
		{name: "partitioned over http", cookie: cookie{Partitioned: true}, insecure: true,
			want: []string{"Partitioned", "https"}},
		{name: "partitioned and lax over http", cookie: cookie{Partitioned: true, SameSite: http.SameSiteLaxMode},
			insecure: true,
			want:     []string{"Partitioned", "https"}},
		{name: "partitioned and none over http", cookie: cookie{Partitioned: true, SameSite: http.SameSiteNoneMode},
			insecure: true,
			want:     []string{"Partitioned", "https"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			config := valid()
			config.Cookie, config.InsecureHTTP = c.cookie, c.insecure
			want := c.want
			if len(want) > 0 {
				want = append([]string{"session: Cookie."}, want...)
			}
			wantProblem(t, config, want)
		})
	}
}

// New reports everything at once, each problem once, and no secret.
func TestConfigReportsAllProblems(t *testing.T) {
	t.Parallel()
	const short = "hunter2-hunter2"
	_, err := session.New(session.Config{
		SecretKey:          short,
		SecretKeyFallbacks: []string{"any random string", secret, ""},
		Store:              memstore.New(nil),
		CookieCodec:        session.EncryptedCookie,
		BearerToken:        true,
		Cookie:             session.Cookie{Name: "x y"},
		IdleTimeout:        2 * time.Hour,
		Lifetime:           time.Hour,
		MaxBytes:           -1,
		MaxSessions:        1,
		StoreTimeout:       -1,
		Grace:              1,
		SweepInterval:      1,
		Serializer:         session.JSON,
		IDFormat:           session.SignedID,
	})
	found := problems(err)
	for _, want := range []string{
		"SecretKey has 15", "SecretKeyFallbacks[0] is a well-known", "SecretKeyFallbacks[2] is empty",
		"IdleTimeout 2h0m0s", "MaxBytes -1",
		"StoreTimeout -1ns", "Grace 1ns", "SweepInterval 1ns", "Store and CookieCodec", "MaxSessions and CookieCodec",
		"BearerToken and CookieCodec", "BearerToken and Cookie exclude",
		"IDFormat and CookieCodec", "Serializer and CookieCodec",
	} {
		n := 0
		for _, p := range found {
			if strings.Contains(p.Error(), want) {
				n++
			}
		}
		if n != 1 {
			t.Errorf("got %d problems that say %q, want 1, in:\n%v", n, want, err)
		}
	}
	if want := 14; len(found) != want {
		t.Errorf("got %d problems, want %d:\n%v", len(found), want, err)
	}
	for _, s := range []string{short, "any random string", secret} {
		if strings.Contains(err.Error(), s) {
			t.Errorf("the error holds a secret: %v", err)
		}
	}
}

func TestConfigRefusesPublishedKeys(t *testing.T) {
	t.Parallel()
	for _, key := range []string{
		"192b9bdd22ab9ed4d12e236c78afcb9a393ec15f71bbf5dc987d54727823bcbf", // Flask's documentation
		"_5#y2L\"F4Q8z\n\xec]/",                        // Flask's documentation, up to 2.0
		"\x02\x01thisismyscretkey\x01\x02\\e\\y\\y\\h", // Superset, CVE-2023-27524
		"CHANGE_ME_TO_A_COMPLEX_RANDOM_SECRET",         // Superset
		"any random string", "Any Random String", "super secret key", "SUPER-SECRET-KEY", "change-me-in-production",
		"changemechangeme",
		"you-will-never-guess", "keyboard cat keyboard cat", "0123456789abcdef", "dev", "changeme", "secret",
		// by the rule of package guessable
		"your-256-bit-secret", "aaaaaaaaaaaaaaab", "1qaz2wsx3edc4rfv", "P@ssw0rd12345678",
		"AAAAAAAAAAAAAAAA", "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00",
	} {
		for _, codec := range []session.CookieCodec{nil, session.EncryptedCookie} {
			c := session.Config{SecretKey: key, CookieCodec: codec}
			if codec == nil {
				c.Store = memstore.New(nil)
			}
			m, err := session.New(c)
			if err == nil {
				m.Close()
				t.Errorf("New took a published or short key %q", key)
				continue
			}
			if strings.Contains(err.Error(), key) {
				t.Errorf("the error holds the key: %v", err)
			}
			c.SecretKey, c.SecretKeyFallbacks = secret, []string{key}
			if m, err := session.New(c); err == nil {
				m.Close()
				t.Errorf("New took a published or short fallback %q", key)
			}
		}
	}
}

func TestNewSecretKeyIsTaken(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for range 1000 {
		k := session.NewSecretKey()
		if seen[k] || len(k) != 43 {
			t.Fatalf("got %d bytes, seen before: %t", len(k), seen[k])
		}
		seen[k] = true
	}
	c := valid()
	c.SecretKey = session.NewSecretKey()
	wantProblem(t, c, nil)
}

// What the caller does to a Config, and what a codec or an ID format does to the keys it gets, changes no Manager.
func TestConfigIsCopied(t *testing.T) {
	t.Parallel()
	old := newBench(t)
	cookie := old.cookie(t, setPlain)

	fallbacks := []string{"another-Jv5Wx9KqZ3tRb7NcM2HdL8", secret}
	spoil := func(keys []string, name string) (session.IDFormat, error) {
		f, err := session.SignedID(keys, name)
		clear(keys)
		return f, err
	}
	rotated := newBench(t, func(c *session.Config) {
		c.SecretKey, c.SecretKeyFallbacks, c.Store, c.IDFormat = "third-Ry4Tk8XqW2zVb6NcJ9MdL3h", fallbacks,
			old.store, spoil
	})
	if fallbacks[1] != secret {
		t.Fatal("an IDFormat got at the caller's slice")
	}
	clear(fallbacks)
	rotated.get(t, cookie, func(w http.ResponseWriter, r *http.Request) {
		if v, _ := session.From(r).Get("color"); v != "green" {
			t.Errorf("got %v, want the session of the older key", v)
		}
	})
}

func TestConfigErrorsOfFormats(t *testing.T) {
	t.Parallel()
	broken := errors.New("the codec's own complaint")
	c := valid()
	c.Store, c.MaxBytes = nil, -1
	c.CookieCodec = func([]string, string) (session.Codec, error) { return nil, broken }
	if _, err := session.New(c); !errors.Is(err, broken) || !strings.Contains(err.Error(), "MaxBytes") {
		t.Errorf("got %v, want the codec's error and that of MaxBytes", err)
	}
	c = valid()
	c.IDFormat = func([]string, string) (session.IDFormat, error) { return nil, broken }
	if _, err := session.New(c); !errors.Is(err, broken) {
		t.Errorf("got %v, want the format's error", err)
	}
}
