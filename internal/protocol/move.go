package protocol

import (
	"context"
	"errors"
	"time"

	"github.com/hipflask/session/internal/document"
	"github.com/hipflask/session/store"
)

// successor returns the record under the new ID.
func (s *saving) successor() (store.Record, document.Document, error) {
	r, d, err := s.k.Records.successor(s.c, s.base, s.document, s.now)
	r.Version = store.NewVersion()
	return r, d, err
}

// cleared marks the tombstone of a Login that came with a Clear: see [saving.mayFollow].
var cleared = []byte(`{"cleared":true}`)

// moveID gives the session a new ID. It first creates the new record n, whose ID no client has, then
// replaces the old record by a tombstone that points to n. Only that second write takes effect for clients.
func (s *saving) moveID(ctx context.Context) error {
	seen := s.at
	n, d, err := s.successor()
	if err != nil {
		return err
	}
	if err := s.put(ctx, &n); err != nil {
		return err
	}
	s.at = seen // gone needs the time at which the old record was last seen
	kind := store.Renewed
	if s.move.retires() { // rule: Hard
		kind = store.Replaced
	}
	for {
		t := s.k.tombstone(&s.base, kind, n.Key)
		if s.move == Login && s.c.Values.Cleared() {
			t.Public = cleared
		}
		found, err := s.retire(ctx, t)
		switch {
		case err != nil:
			if !errors.Is(err, ErrUncertain) { // rule: FenceKeep
				s.k.store.Delete(ctx, n.Key)
			}
			return err
		case found == retired:
			s.base, s.document, s.at, s.created = n, d, time.Now(), true
			return nil
		case found == absent, found == replaced && s.move.retires():
			return s.lost(ctx, &n, found == absent)
		case found == ended:
			return s.lost(ctx, &n, false)
		case found == renewed, found == replaced:
			return s.yield(ctx, &n)
		}
		err = s.rebuild(ctx, &n, &d) // rule: Rebuild
		if err != nil {
			return err
		}
	}
}

// rebuild makes the new record n again, because another request has changed the old record since. s.base is the newer
// old record.
func (s *saving) rebuild(ctx context.Context, n *store.Record, d *document.Document) error {
	next, nd, err := s.successor()
	if err != nil {
		s.k.store.Delete(ctx, n.Key)
		return err
	}
	if err := s.rewrite(ctx, n, next); err != nil {
		return err
	}
	*n, *d = next, nd
	return nil
}

// oldID is what retire found under the old ID.
type oldID uint8

const (
	retired  oldID = iota // the tombstone is there
	newer                 // a newer record, which is s.base now
	renewed               // another Renew came first
	replaced              // another Login came first
	ended
	absent
)

// retire replaces s.base by the tombstone t. An error other than ErrUncertain means that t was not stored and never
// will be.
func (s *saving) retire(ctx context.Context, t store.Record) (oldID, error) {
	key := s.base.Key
	for try := 1; ; try++ {
		if err := s.again(ctx); err != nil {
			return 0, s.bound(err)
		}
		err := s.k.store.Replace(ctx, t, s.base.Version)
		switch {
		case err == nil:
			return retired, nil
		case errors.Is(err, store.ErrNotFound):
			return absent, nil
		case errors.Is(err, store.ErrConflict):
			s.c.Figures.Conflicts++
		default:
			s.unsure = true // rule: Reload
		}
		r, err := s.whereabouts(ctx, key)
		switch {
		case errors.Is(err, store.ErrNotFound):
			return absent, nil
		case err != nil:
			return 0, Uncertain("renew", err)
		case r.Version == t.Version: // rule: OwnTombstone
			return retired, nil
		case r.Kind == store.Live && r.Version == s.base.Version && try == 1:
		case r.Kind == store.Live && r.Version == s.base.Version:
			return 0, s.fence(ctx) // rule: Fence
		case r.Kind == store.Live && s.follow(ctx, r):
			s.unsure = false // a late t would meet a conflict
			s.conflicts++
			return newer, nil
		case r.Kind == store.Renewed:
			return renewed, nil
		case r.Kind == store.Replaced:
			return replaced, nil
		default:
			return ended, nil
		}
	}
}

// whereabouts loads the record that the tombstone is to replace. A move that retires the ID follows the renewals of
// other requests.
func (s *saving) whereabouts(ctx context.Context, key string) (store.Record, error) {
	for {
		r, err := s.load(ctx, key)
		if err != nil || r.Kind != store.Renewed {
			return r, err
		}
		if !s.move.retires() { // rule: RenewLater
			return r, nil
		}
		if err := s.again(ctx); err != nil {
			return r, err
		}
		key = r.MovedTo
	}
}

// fence gives the old record a new version, so that a tombstone in flight can't replace it any more. Only then is it
// certain that nothing was changed.
func (s *saving) fence(ctx context.Context) error {
	fenced := s.base
	fenced.Version = store.NewVersion()
	if err := s.k.store.Replace(ctx, fenced, s.base.Version); err != nil {
		return Uncertain("renew", err)
	}
	return Unavailable("renew", errors.New("the store did not take the tombstone of the old ID"))
}

// rewrite replaces n, whose ID no client has, by next. An error means that n was removed or is about to be, and that
// nothing was changed for clients.
func (s *saving) rewrite(ctx context.Context, n *store.Record, next store.Record) error {
	for try := 1; ; try++ {
		err := s.k.store.Replace(ctx, next, n.Version)
		if err == nil {
			return nil
		}
		if !errors.Is(err, store.ErrNotFound) {
			r, lookErr := s.k.store.Load(ctx, n.Key)
			switch {
			case lookErr == nil && r.Version == next.Version:
				return nil
			case lookErr == nil && r.Version == n.Version && try < 3:
				continue
			case lookErr == nil && r.Kind == store.Ended, errors.Is(lookErr, store.ErrNotFound):
			default:
				s.k.store.Delete(ctx, n.Key)
			}
		}
		return Unavailable("renew", err)
	}
}

// lost handles a new ID whose old session has ended meanwhile. A Login gets a session all the same, with the changes of
// this request alone. Any other move is dropped.
func (s *saving) lost(ctx context.Context, n *store.Record, absent bool) error {
	if s.move == Login { // rule: LoginAny
		r, d, err := s.first() // rule: LoginFresh
		if err != nil {
			s.k.store.Delete(ctx, n.Key)
			return err
		}
		if err := s.rewrite(ctx, n, r); err != nil {
			return err
		}
		s.base, s.document, s.at, s.created = r, d, time.Now(), true
		return nil
	}
	if absent && time.Since(s.at) > s.k.Grace { // rule: ElapsedRenew
		return s.gone() // uncertain: n may be what a tombstone pointed to, and stays
	}
	s.k.store.Delete(ctx, n.Key)
	s.dropped = true
	return nil
}

// yield handles a Renew that finds the ID renewed by another request. The browser gets the cookie of the other request,
// and the changes follow to its ID.
func (s *saving) yield(ctx context.Context, n *store.Record) error {
	s.k.store.Delete(ctx, n.Key)
	s.move, s.unsure, s.moved = Stay, false, true
	if s.c.onlyMoves() {
		return nil
	}
	if err := s.reload(ctx); err != nil || s.dropped {
		return err
	}
	return s.change(ctx)
}
