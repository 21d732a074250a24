package storetest

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"github.com/hipflask/session/store"
)

var contextClauses = []clause{{
	name: "EndedContextIsAnError",
	rule: "a method whose context has ended returns soon, with an error, and not with an answer about " +
		"the record: the core bounds every call, and takes ErrNotFound for a session that is gone.",
	run: endedContextIsAnError,
}, {
	name: "CancelledCallsLeaveNoLock", twoOpens: true,
	rule: "a call that is cancelled in the middle leaves nothing behind: no lock, no half-written record, " +
		"no connection in an unknown state. Clients hang up all the time.",
	run: cancelledCallsLeaveNoLock,
}}

var errorClauses = []clause{{
	name: "ErrorsKeepSecrets",
	rule: "errors never contain a key, a principal, a label, a public attribute or data: they end in " +
		"logs, and who reads the log must not learn from it whose session is where. Mind the texts of " +
		"the operating system and of client libraries (file names, keys).",
	run: errorsKeepSecrets,
}}

// endedContexts returns contexts that have ended, by name.
func (p *probe) endedContexts() map[string]context.Context {
	cancelled, cancel := context.WithCancel(p.ctx)
	cancel()
	expired, cancel := context.WithDeadline(p.ctx, time.Now().Add(-time.Second))
	cancel()
	return map[string]context.Context{"cancelled": cancelled, "expired": expired}
}

func endedContextIsAnError(p *probe, a, _ store.Store) {
	for name, ctx := range p.endedContexts() {
		what := " with a " + name + " context"
		rec, fresh := newRecord(), newRecord()
		p.create(a, rec)
		p.deletes(a, fresh.Key)
		_, err := a.Load(ctx, rec.Key)
		p.failed(err, "Load"+what)
		_, err = a.Load(ctx, newKey())
		p.failed(err, "Load of nothing"+what)
		p.failed(a.Create(ctx, fresh), "Create"+what)
		p.failed(a.Create(ctx, rec), "Create of a taken key"+what)
		p.failed(a.Replace(ctx, changed(rec), store.NewVersion()), "Replace of another version"+what)
		p.failed(a.Touch(ctx, rec.Key, store.NewVersion(), now(), rec.ExpiresAt), "Touch of another version"+what)
		p.failed(a.Replace(ctx, changed(rec), rec.Version), "Replace"+what)
		p.failed(a.Touch(ctx, rec.Key, rec.Version, now(), rec.ExpiresAt), "Touch"+what)
		p.failed(a.Delete(ctx, rec.Key), "Delete"+what)
		if _, err := a.Load(p.ctx, rec.Key); err != nil { // Delete may have been applied
			p.want(store.ErrNotFound, err, "Load after calls"+what)
		}
	}
}

func cancelledCallsLeaveNoLock(p *probe, a, b store.Store) {
	rec := p.heavy()
	p.create(a, rec)
	p.crowd(a, func() {
		p.each(writers, func(i int) {
			s := pick(i, a, b)
			for round := range 8 {
				ctx, cancel := context.WithTimeout(p.ctx, time.Duration(i*(round+1))*10*time.Microsecond)
				if got, err := s.Load(ctx, rec.Key); err == nil {
					_ = s.Replace(ctx, changed(got), got.Version) // any answer may be right
					_ = s.Touch(ctx, rec.Key, got.Version, now(), rec.ExpiresAt)
				}
				cancel()
			}
		})
	}, rec.Key)
	for _, s := range []store.Store{a, b} {
		got, err := s.Load(p.ctx, rec.Key)
		p.ok(err, "Load after cancelled calls")
		next := changed(got)
		p.replace(s, next, got.Version)
		p.present(s, next, "after cancelled calls and a Replace")
	}
	p.want(nil, b.Delete(p.ctx, rec.Key), "Delete after cancelled calls")
	p.absent(a, rec.Key, "after cancelled calls and Delete")
}

func errorsKeepSecrets(p *probe, a, _ store.Store) {
	rec := newRecord()
	rec.Label = "label-" + newKey()
	rec.Public = []byte(`{"public":"` + newKey() + `"}`)
	rec.Data = []byte("data-" + newKey())
	p.create(a, rec)
	other := rec
	other.Version = store.NewVersion()
	check := func(err error, what string) {
		for field, secret := range map[string]string{
			"key": rec.Key, "principal": rec.Principal, "label": rec.Label, "handle": rec.Handle,
			"public attributes": string(rec.Public), "data": string(rec.Data),
		} {
			if err != nil && tells(err, secret) {
				p.Errorf("the error of %s contains the record's %s", what, field)
			}
		}
	}
	all := func(ctx context.Context, rec store.Record, what string) {
		_, err := a.Load(ctx, rec.Key)
		check(err, "Load"+what)
		check(a.Create(ctx, rec), "Create"+what)
		check(a.Replace(ctx, rec, store.NewVersion()), "Replace"+what)
		check(a.Touch(ctx, rec.Key, store.NewVersion(), now(), rec.ExpiresAt), "Touch"+what)
		if l, ok := store.As[store.Lister](a); ok {
			for _, err := range l.Principal(ctx, rec.Principal) {
				check(err, "Principal"+what)
			}
		}
		check(a.Delete(ctx, rec.Key), "Delete"+what)
	}
	for name, ctx := range p.endedContexts() {
		all(ctx, other, " with a "+name+" context")
	}
	all(p.ctx, other, " where a record is")
	_, err := a.Load(p.ctx, rec.Key)
	check(err, "Load of nothing")
	check(a.Replace(p.ctx, other, rec.Version), "Replace of nothing")
	check(a.Touch(p.ctx, rec.Key, rec.Version, now(), rec.ExpiresAt), "Touch of nothing")
	// What the contract does not allow may get any answer, but none that tells more.
	for what, key := range map[string]string{" of a key that is too long": strings.Repeat(rec.Key, 200),
		" of a key with zero bytes": rec.Key + "\x00"} {
		other.Key = key
		p.deletes(a, key)
		all(p.ctx, other, what)
	}
}

// tells tells whether the text of err contains secret, plain or as it might be part of a file's name.
func tells(err error, secret string) bool {
	for _, text := range []string{err.Error(), fmt.Sprintf("%+v", err)} {
		for _, form := range []string{
			secret, hex.EncodeToString([]byte(secret)), base64.RawURLEncoding.EncodeToString([]byte(secret)),
			base64.RawStdEncoding.EncodeToString([]byte(secret)),
		} {
			if strings.Contains(strings.ToLower(text), strings.ToLower(form)) {
				return true
			}
		}
	}
	return false
}
