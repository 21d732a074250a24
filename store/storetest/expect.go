package storetest

import (
	"errors"
	"time"

	"github.com/hipflask/session/store"
)

// answers are the errors that callers tell apart.
var answers = []error{store.ErrNotFound, store.ErrExists, store.ErrConflict}

// want reports unless err is the answer that the contract gives for what was done; nil is success. An error that is
// several answers at once is none.
func (p *probe) want(answer, err error, what string) {
	p.Helper()
	if answer == nil {
		if err != nil {
			p.Errorf("%s: got error %q, want nil", what, err)
		}
		return
	}
	for _, a := range answers {
		if errors.Is(err, a) != (a == answer) {
			p.Errorf("%s: got %v, want %q", what, quoted(err), answer)
			return
		}
	}
}

// failed reports unless err is an error that is none of the answers, which would say something about the record.
func (p *probe) failed(err error, what string) {
	p.Helper()
	if err == nil {
		p.Errorf("%s: got nil, want an error", what)
	}
	for _, a := range answers {
		if errors.Is(err, a) {
			p.Errorf("%s: got the answer %q, want an error that says nothing about the record", what, a)
		}
	}
}

// ok ends the clause if something failed that it builds on.
func (p *probe) ok(err error, what string) {
	p.Helper()
	if err != nil {
		p.Fatalf("%s: got error %q, want nil", what, err)
	}
}

func quoted(err error) any {
	if err == nil {
		return "nil"
	}
	return "error \"" + err.Error() + `"`
}

// create stores rec, which has to work, and has it deleted in the end.
func (p *probe) create(s store.Store, rec store.Record) {
	p.Helper()
	p.deletes(s, rec.Key)
	p.ok(s.Create(p.ctx, rec), "Create of a new key")
}

// createAll stores all of recs.
func (p *probe) createAll(s store.Store, recs []store.Record) {
	p.Helper()
	p.spread(len(recs), func(i int) { p.create(s, recs[i]) })
}

// replace stores rec in place of version, which has to work.
func (p *probe) replace(s store.Store, rec store.Record, version uint64) {
	p.Helper()
	p.ok(s.Replace(p.ctx, rec, version), "Replace of the version that is there")
}

// touch moves the times of rec, which has to work, and returns rec as it is then.
func (p *probe) touch(s store.Store, rec store.Record, seen, expires time.Time) store.Record {
	p.Helper()
	p.ok(s.Touch(p.ctx, rec.Key, rec.Version, seen, expires), "Touch of the version that is there")
	rec.LastSeenAt, rec.ExpiresAt = seen, expires
	return rec
}

// present reports unless s holds exactly rec.
func (p *probe) present(s store.Store, rec store.Record, when string) {
	p.Helper()
	got, err := s.Load(p.ctx, rec.Key)
	if err != nil {
		p.Errorf("Load %s: got error %q, want the record", when, err)
		return
	}
	if d := diff(got, rec); d != "" {
		p.Errorf("Load %s: %s", when, d)
	}
}

// absent reports unless s has nothing under key.
func (p *probe) absent(s store.Store, key, when string) {
	p.Helper()
	_, err := s.Load(p.ctx, key)
	p.want(store.ErrNotFound, err, "Load "+when)
}

// lister returns s as a Lister, or ends the clause.
func (p *probe) lister(s store.Store) store.Lister {
	p.Helper()
	l, ok := store.As[store.Lister](s)
	if !ok {
		p.Fatalf("%T is no store.Lister, and the test does not declare NoIndex", s)
	}
	return l
}

// sweeper returns s as a Sweeper, or ends the clause.
func (p *probe) sweeper(s store.Store) store.Sweeper {
	p.Helper()
	sw, ok := store.As[store.Sweeper](s)
	if !ok {
		p.Fatalf("%T is no store.Sweeper, and the test does not declare OwnExpiry", s)
	}
	return sw
}
