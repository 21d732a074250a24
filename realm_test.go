package session_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/hipflask/session"
	"github.com/hipflask/session/store/memstore"
)

// ofRealm is an option of newBench: a Manager of a realm on a shared store.
func ofRealm(shared *memstore.Store, cookie, realm string) func(*session.Config) {
	return func(c *session.Config) {
		c.Store, c.InsecureHTTP, c.SweepInterval, c.Cookie.Name, c.Realm = shared, true, -1, cookie, realm
	}
}

// What one realm does to its principals leaves those of another alone, and nobody sees the realm in a principal's name:
// neither the session, nor lists, nor events.
func TestRealms(t *testing.T) {
	t.Parallel()
	shared := memstore.New(nil)
	shop := newBench(t, ofRealm(shared, "shop", "shop"))
	staff := newBench(t, ofRealm(shared, "staff", "staff"))
	none := newBench(t, ofRealm(shared, "other", ""))
	customer, handle := device(t, shop.Manager, "7", "customer")
	clerk, _ := device(t, staff.Manager, "7", "clerk")
	device(t, none.Manager, "7", "other")
	newVisitor(t).do(shop.Manager, func(s *session.Session) { fill(s); s.SetLabel("visitor") })

	for _, c := range []struct {
		b         *bench
		user, all string
	}{
		{shop, "[customer]", "[customer visitor]"}, {staff, "[clerk]", "[clerk visitor]"},
		{none, "[other]", "[clerk customer other visitor]"},
	} {
		check(t, "principal", fmt.Sprint(labels(t, c.b.Sessions(t.Context(), "7"))), c.user)
		check(t, "all", fmt.Sprint(labels(t, c.b.All(t.Context()))), c.all)
	}
	for i, err := range shop.Sessions(t.Context(), "7") {
		is(t, "Sessions", err, nil)
		check(t, "principal", i.Principal, "7")
	}
	customer.do(shop.Manager, func(s *session.Session) {
		check(t, "principal", s.Principal(), "7")
		check(t, "info", s.Info().Principal, "7")
	})

	is(t, "Revoke of another realm's", staff.Revoke(t.Context(), "7", handle), session.ErrEnded)
	n, err := staff.RevokeFunc(t.Context(), func(i session.Info) bool { return i.Principal != "" })
	is(t, "RevokeFunc", err, nil)
	check(t, "ended by RevokeFunc", n, 1)
	customer.do(shop.Manager, func(s *session.Session) { check(t, "customer", s.Principal(), "7") })
	clerk.do(staff.Manager, func(s *session.Session) { check(t, "clerk", s.Principal(), "") })
	n, err = shop.RevokeAll(t.Context(), "7")
	is(t, "RevokeAll", err, nil)
	check(t, "ended", n, 1)
	check(t, "left", fmt.Sprint(labels(t, none.All(t.Context()))), "[other visitor]")
	for _, b := range []*bench{shop, staff} {
		b.events.mu.Lock()
		for _, e := range b.events.events {
			if e.Principal != "" && e.Principal != "7" {
				t.Errorf("event %s: got principal %q, want %q", e.Kind, e.Principal, "7")
			}
		}
		b.events.mu.Unlock()
	}
}

// A session that was stored under another Realm belongs to nobody: its principal isn't one of this realm.
func TestRealmIsChanged(t *testing.T) {
	t.Parallel()
	shared := memstore.New(nil)
	realms := []string{"", "a", "ab"}
	for _, before := range realms {
		c, _ := device(t, newBench(t, ofRealm(shared, "session", before)).Manager, "7", before)
		for _, after := range realms {
			want := ""
			if after == before {
				want = "7"
			}
			c.copy().do(newBench(t, ofRealm(shared, "session", after)).Manager, func(s *session.Session) {
				check(t, fmt.Sprintf("from %q to %q", before, after), s.Principal(), want)
			})
		}
	}
	c := newVisitor(t)
	c.do(newBench(t, ofRealm(shared, "session", "a")).Manager, fill)
	alive(t, "an anonymous session", c, newBench(t, ofRealm(shared, "session", "ab")), true)
}

// The realm and the principal share the room that a store has.
func TestRealmBounds(t *testing.T) {
	t.Parallel()
	for realm, ok := range map[string]bool{
		"": true, "a": true, strings.Repeat("r", 64): true, strings.Repeat("é", 32): true,
		strings.Repeat("r", 65): false, "a\x00": false, "a\xff": false, "a␟b": false,
	} {
		_, err := session.New(session.Config{SecretKey: secret, Store: memstore.New(nil), Realm: realm,
			SweepInterval: -1})
		if (err == nil) != ok || err != nil && !strings.Contains(err.Error(), "Realm") {
			t.Errorf("realm of %d bytes: got %v, want it to be taken: %v", len(realm), err, ok)
		}
	}
	_, err := session.New(session.Config{SecretKey: secret, CookieCodec: session.EncryptedCookie, Realm: "a"})
	if err == nil || !strings.Contains(err.Error(), "Realm and CookieCodec") {
		t.Errorf("with a codec: got %v, want an error", err)
	}
	for realm, longest := range map[string]int{"": 256, "a": 249, strings.Repeat("r", 64): 186} {
		m := server(t, func(c *session.Config) { c.Realm = realm })
		for n := longest; n <= longest+1; n++ {
			c := newVisitor(t)
			res := c.try(m, func(s *session.Session) { s.Login(strings.Repeat("x", n)) })
			check(t, fmt.Sprintf("realm of %d bytes, principal of %d", len(realm), n), res.StatusCode == 200,
				n == longest)
		}
	}
	res := newVisitor(t).try(server(t), func(s *session.Session) { s.Login("␟shop␟7") })
	check(t, "a principal that looks like another realm's", res.StatusCode, 500)
}

// Two Managers that share principals by chance are worth a warning; those that say so are not.
func TestSharedPrincipalsAreLoggedOnce(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		realms  [2]string
		cookies [2]string
		bearer  bool
		want    int
	}{
		"two cookies":              {cookies: [2]string{"a", "b"}, want: 1},
		"a cookie and a token":     {cookies: [2]string{"a"}, bearer: true, want: 1},
		"two servers of one":       {cookies: [2]string{"a", "a"}},
		"two realms":               {cookies: [2]string{"a", "b"}, realms: [2]string{"x", "y"}},
		"one realm, on purpose":    {cookies: [2]string{"a", "b"}, realms: [2]string{"x", "x"}},
		"a realm and none":         {cookies: [2]string{"a", "b"}, realms: [2]string{"x", ""}},
		"a closed one and another": {cookies: [2]string{"a", "b"}, realms: [2]string{"(closed)", ""}},
	} {
		var log bytes.Buffer
		shared := memstore.New(nil)
		for i, cookie := range c.cookies {
			cfg := session.Config{SecretKey: secret, Store: shared, Realm: strings.Trim(c.realms[i], "(closed)"),
				SweepInterval: -1, InsecureHTTP: true}
			logTo(&log)(&cfg)
			if cfg.BearerToken = c.bearer && i == 1; !cfg.BearerToken {
				cfg.Cookie.Name = cookie
			}
			if i == 1 {
				cfg.Store = &timed{Store: shared} // still the same one
			}
			m, err := session.New(cfg)
			is(t, "New", err, nil)
			defer m.Close()
			if c.realms[i] == "(closed)" {
				m.Close()
			}
		}
		if got := strings.Count(log.String(), "share a Store"); got != c.want {
			t.Errorf("%s: got %d warnings, want %d: %s", name, got, c.want, log.String())
		}
	}
}
