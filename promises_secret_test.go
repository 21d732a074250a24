package session_test

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/hipflask/session"
	"github.com/hipflask/session/store"
)

// P7: an ID that the store does not know, however well it is signed, is not adopted: what the visitor does goes under
// an ID of our own, and nothing appears under the one that came.
func TestP7UnknownIDsAreNotAdopted(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(s *session.Session){"Set": fill, "Login": func(s *session.Session) {
		s.Login("ann")
	}} {
		elsewhere, spy := server(t), newSpy()
		m := server(t, func(c *session.Config) { c.Store = spy })
		c := newVisitor(t)
		c.do(elsewhere, fill)
		planted := c.value()
		c.do(m, change)
		if c.value() == planted || c.value() == "" {
			t.Errorf("%s: the visitor's ID was adopted", name)
		}
		if spy.keys[0] == spy.keys[1] {
			t.Errorf("%s: the new session is stored under the visitor's key", name)
		}
		_, err := m.Load(t.Context(), planted)
		is(t, name+": Load of the planted ID", err, session.ErrEnded)
	}
}

// P7: who plants the cookie of a session of his own gains nothing by the victim's login.
func TestP7SessionFixation(t *testing.T) {
	t.Parallel()
	for name, attacker := range map[string]func(s *session.Session){
		"anonymous": fill, "logged in": func(s *session.Session) { s.Login("mallory") },
	} {
		ms := servers(t, 2)
		mallory := newVisitor(t)
		mallory.do(ms[0], attacker)
		victim := mallory.copy()
		victim.do(ms[1], func(s *session.Session) { s.Login("ann"); s.Set("pin", 1) })
		mallory.want(ms, name+": the attacker's cookie", nothing)
		mallory.do(ms[0], (*session.Session).Renew)
		mallory.want(ms, name+": the attacker's cookie, renewed", nothing)
	}
}

// hoarder is a store that remembers every record that was written.
type hoarder struct {
	*spyStore
	mu      sync.Mutex
	records []store.Record
}

func (h *hoarder) keep(r store.Record) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.records = append(h.records, r)
}

func (h *hoarder) Create(ctx context.Context, r store.Record) error {
	h.keep(r)
	return h.spyStore.Create(ctx, r)
}

func (h *hoarder) Replace(ctx context.Context, r store.Record, version uint64) error {
	h.keep(r)
	return h.spyStore.Replace(ctx, r, version)
}

// P8: nothing that was ever given to the store is an ID or a cookie, or can be sent as one.
func TestP8DumpMakesNoCookie(t *testing.T) {
	t.Parallel()
	h := &hoarder{spyStore: newSpy()}
	m := server(t, func(c *session.Config) { c.Store = h })
	c := newVisitor(t)
	var cookies []string
	for _, change := range []func(s *session.Session){
		fill, (*session.Session).Renew, func(s *session.Session) {
			s.Login("ann")
			s.SetLabel("a label")
		}, (*session.Session).Renew, fill,
	} {
		c.do(m, change)
		cookies = append(cookies, c.value())
	}
	var dump []string
	for _, r := range h.records {
		dump = append(dump, r.Key, r.Principal, r.Label, r.MovedTo, r.Handle, string(r.Data), fmt.Sprint(r.Version))
	}
	dump = append(dump, h.keys...)
	all := strings.Join(dump, "\n")
	for _, cookie := range cookies {
		raw, err := base64.RawURLEncoding.DecodeString(cookie)
		is(t, "decoding a cookie", err, nil)
		for name, part := range map[string][]byte{"ID": raw[:16], "signature": raw[16:]} {
			for _, secret := range []string{
				cookie, string(part), hex.EncodeToString(part), base64.RawURLEncoding.EncodeToString(part)[:21],
				base64.StdEncoding.EncodeToString(part)[:21],
			} {
				if strings.Contains(all, secret) {
					t.Errorf("the store was given the %s of a session", name)
				}
			}
		}
	}
	for _, a := range dump {
		for _, b := range append([]string{""}, dump...) {
			raw, _ := base64.RawURLEncoding.DecodeString(a)
			for _, try := range []string{a + b, base64.RawURLEncoding.EncodeToString([]byte(a + b)),
				base64.RawURLEncoding.EncodeToString(raw) + b} {
				if _, err := m.Load(t.Context(), try); try != "" && err == nil {
					t.Fatalf("a token was made from what the store has")
				}
			}
		}
	}
}
