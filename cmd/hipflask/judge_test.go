package main

import (
	"strings"
	"testing"
	"time"

	"github.com/hipflask/session"
	"github.com/hipflask/session/flask"
	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/memstore"
)

// made returns a cookie's value under the key of the fuzz test, and where its session is kept.
func made(t *testing.T, config session.Config) (value string, kept store.Store) {
	t.Helper()
	config.SecretKey, config.SweepInterval = fuzzKey, -1
	if config.CookieCodec == nil {
		kept = memstore.New(nil)
		config.Store = kept
	}
	m, err := session.New(config)
	must(t, err)
	defer m.Close()
	s, err := m.Load(t.Context(), "")
	must(t, err)
	s.Login("ann")
	must(t, s.Save(t.Context()))
	return s.Token(), kept
}

func wantVerdict(t *testing.T, what string, j *judge, reason session.Reason, text string) {
	t.Helper()
	j.secrets = []secret{{"SECRET_KEY", fuzzKey}}
	if j.now.IsZero() {
		j.now = time.Now()
	}
	v, err := j.judge(t.Context())
	must(t, err)
	if v.Valid != (reason == "") || v.Reason != reason || !strings.Contains(v.Explanation, text) {
		t.Errorf("%s: got valid %v, reason %q, %q; want %q and %q", what, v.Valid, v.Reason, v.Explanation,
			reason, text)
	}
}

// What time does to cookies that hold the session themselves.
func TestJudgeTimes(t *testing.T) {
	t.Parallel()
	encrypted, _ := made(t, session.Config{CookieCodec: session.EncryptedCookie})
	wantVerdict(t, "encrypted", &judge{value: encrypted}, "", "encrypted with SECRET_KEY")
	wantVerdict(t, "encrypted, two days old", &judge{value: encrypted, now: time.Now().Add(48*time.Hour + time.Minute)},
		session.ReasonIdle, "expired 24 h ago")

	signed, _ := made(t, session.Config{CookieCodec: flask.Cookie, Cookie: session.Cookie{Name: "session"}})
	wantVerdict(t, "flask", &judge{value: signed}, "", "signed with SECRET_KEY")
	wantVerdict(t, "flask, from the future", &judge{value: signed, now: time.Now().Add(-2 * time.Minute)},
		session.ReasonFuture, "ahead of this clock")
	wantVerdict(t, "flask, old", &judge{value: signed, now: time.Now().Add(40 * 24 * time.Hour)},
		session.ReasonLifetime, "40 days ago, and its lifetime is 31 days")
}

// What may have become of the session of a rightly signed ID.
func TestJudgeStored(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*store.Record)
		reason session.Reason
		text   string
	}{
		"live":    {func(*store.Record) {}, "", "its session is live"},
		"renewed": {func(r *store.Record) { r.Kind, r.MovedTo = store.Renewed, "x" }, "", "good for a moment more"},
		"replaced": {func(r *store.Record) { r.Kind, r.MovedTo = store.Replaced, "x" }, session.ReasonReplaced,
			"a login took the session's place"},
		"ended": {func(r *store.Record) { r.Kind = store.Ended }, session.ReasonEnded, "logged out or revoked"},
	} {
		value, kept := made(t, session.Config{})
		for r := range lister(kept).All(t.Context()) {
			next := r
			c.change(&next)
			next.Version = 7
			must(t, kept.Replace(t.Context(), next, r.Version))
		}
		wantVerdict(t, name, &judge{value: value, store: &place{Store: kept}}, c.reason, c.text)
	}

	value, kept := made(t, session.Config{})
	for r := range lister(kept).All(t.Context()) {
		wantVerdict(t, "expired", &judge{value: value, store: &place{Store: expired{kept, r}}}, session.ReasonIdle,
			"the session expired 3 h ago")
		must(t, kept.Delete(t.Context(), r.Key))
	}
	wantVerdict(t, "unknown", &judge{value: value, store: &place{Store: kept}}, session.ReasonUnknown,
		"no such session")
}
