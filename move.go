package session

import (
	"context"
	"errors"
	"time"

	"github.com/hipflask/session/store"
)

// successor is the record under the new ID: with the values of base, and the changes. A login over another principal
// starts from nothing.
func (c *commit) successor() (store.Record, document, error) {
	if c.life == login && c.base.Principal != "" && c.base.Principal != c.login {
		r, d, _, err := c.first()
		return r, d, err
	}
	r := c.base
	r.Key = c.next.key
	if c.life == login {
		r.Principal, r.Handle, r.CreatedAt = c.login, c.next.handle, c.now.Truncate(time.Millisecond)
	}
	r, d, _, err := c.build(r, c.document)
	return r, d, err
}

// move gives the session a new ID, for Renew and Login: the new record n first, which nobody knows, then a tombstone in
// the old one's place, which makes it count.
func (c *commit) move(ctx context.Context) error {
	seen := c.at
	n, d, err := c.successor()
	if err != nil {
		return err
	}
	if err := c.put(ctx, &n); err != nil {
		return err
	}
	c.at = seen // gone asks when the old record was there
	kind := store.Renewed
	if c.life == login {
		kind = store.Replaced
	}
	for {
		moved, err := c.retire(ctx, c.m.retired(&c.base, kind, n.Key))
		switch {
		case err != nil:
			if !errors.Is(err, ErrUncertain) {
				c.m.store.Delete(ctx, n.Key)
			}
			return err
		case moved == done:
			c.base, c.document, c.at, c.created = n, d, time.Now(), true
			return nil
		case moved == gone, moved == replaced && c.life == login:
			return c.lost(ctx, &n, moved == gone)
		case moved == ended:
			return c.lost(ctx, &n, false)
		case moved == renewed, moved == replaced:
			return c.yield(ctx, &n)
		}
		// The old record is newer than the base that n was made from, and is the base now.
		next, nd, err := c.successor()
		if err == nil {
			err = c.rewrite(ctx, &n, next)
		} else {
			c.m.store.Delete(ctx, n.Key)
		}
		if err != nil {
			return err
		}
		n, d = next, nd
	}
}

// moved says what became of a record that a tombstone was to replace.
type moved uint8

const (
	done     moved = iota // the tombstone is there
	newer                 // the record is newer than c.base was, and c.base now
	renewed               // another Renew came first
	replaced              // another Login came first
	ended
	gone
)

// retire replaces c.base by the tombstone t. An error that is not ErrUncertain means that t will never be there.
func (c *commit) retire(ctx context.Context, t store.Record) (moved, error) {
	key := c.base.Key
	for attempt := 1; ; attempt++ {
		if err := c.round(ctx); err != nil {
			return 0, c.bound(err)
		}
		err := c.m.store.Replace(ctx, t, c.base.Version)
		switch {
		case err == nil:
			return done, nil
		case errors.Is(err, store.ErrNotFound):
			return gone, nil
		case !errors.Is(err, store.ErrConflict):
			c.unsure = true
		}
		r, at, err := c.whereabouts(ctx, key)
		switch {
		case errors.Is(err, store.ErrNotFound):
			return gone, nil
		case err != nil:
			return 0, uncertain("renew", err)
		case r.Version == t.Version:
			return done, nil
		case r.Kind == store.Live && r.Version == c.base.Version && attempt == 1:
		case r.Kind == store.Live && r.Version == c.base.Version:
			return 0, c.fence(ctx)
		case r.Kind == store.Live && c.follow(ctx, r, at):
			c.unsure, c.crossed = false, false // a late t would meet a conflict
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

// whereabouts loads the record that the tombstone is for. A login goes on along the renewals of others.
func (c *commit) whereabouts(ctx context.Context, key string) (store.Record, time.Time, error) {
	for {
		at := time.Now()
		r, err := c.m.store.Load(ctx, key)
		if err != nil || c.life != login || r.Kind != store.Renewed {
			return r, at, err
		}
		if err := c.round(ctx); err != nil {
			return r, at, err
		}
		key = r.MovedTo
	}
}

// fence gives the old record a new version, so that a tombstone that is still under way can't replace it: only then is
// it sure that nothing was changed.
func (c *commit) fence(ctx context.Context) error {
	fenced := c.base
	fenced.Version = newVersion()
	if err := c.m.store.Replace(ctx, fenced, c.base.Version); err != nil {
		return uncertain("renew", err)
	}
	return unavailable("renew", errors.New("the store did not take the tombstone of the old ID"))
}

// rewrite replaces n, whose ID nobody has yet, by next. An error means that n is gone or going: nothing was changed.
func (c *commit) rewrite(ctx context.Context, n *store.Record, next store.Record) error {
	for attempt := 1; ; attempt++ {
		err := c.m.store.Replace(ctx, next, n.Version)
		if err == nil {
			return nil
		}
		if !errors.Is(err, store.ErrNotFound) {
			r, lookErr := c.m.store.Load(ctx, n.Key)
			switch {
			case lookErr == nil && r.Version == next.Version:
				return nil
			case lookErr == nil && r.Version == n.Version && attempt < 3:
				continue
			case lookErr == nil && r.Kind == store.Ended, errors.Is(lookErr, store.ErrNotFound):
			default:
				c.m.store.Delete(ctx, n.Key)
			}
		}
		return unavailable("renew", err)
	}
}

// lost is for a new ID whose old session has ended meanwhile. A Login gets a session all the same, with this request's
// changes alone; a Renew has nothing left to renew.
func (c *commit) lost(ctx context.Context, n *store.Record, absent bool) error {
	if c.life == login {
		r, d, _, err := c.first()
		if err != nil {
			c.m.store.Delete(ctx, n.Key)
			return err
		}
		if err := c.rewrite(ctx, n, r); err != nil {
			return err
		}
		c.base, c.document, c.at, c.created = r, d, time.Now(), true
		return nil
	}
	if absent && time.Since(c.at) > c.m.config.Grace {
		return c.gone() // uncertain: n may be what a tombstone pointed to, and stays
	}
	c.m.store.Delete(ctx, n.Key)
	c.dropped = true
	return nil
}

// yield is for a Renew that finds the ID renewed by another request: that one's cookie is on its way to the browser. The
// changes follow it.
func (c *commit) yield(ctx context.Context, n *store.Record) error {
	c.m.store.Delete(ctx, n.Key)
	c.life, c.unsure, c.moved = keep, false, true
	if c.changes.empty() && c.label == nil {
		return nil
	}
	if _, _, err := c.look(ctx, c.base.Key, 0); err != nil || c.dropped {
		return err
	}
	return c.save(ctx)
}

// end replaces a session's record by the marker of its end, wherever it has moved meanwhile. who is the principal that
// the end is for, and wanted tells by their handles which of his sessions: what a login took over may be another.
//
// forget: the session is gone, and the browser may forget its cookie. did: it was this call that ended it.
func (m *Manager) end(ctx context.Context, r store.Record, seen time.Time, who string, wanted func(handle string) bool) (forget, did bool, err error) {
	key := r.Key
	look := r.Kind != store.Live
	if look {
		key = r.MovedTo
	}
	c := &commit{m: m, at: seen}
	var version uint64
	for {
		if err := c.round(ctx); err != nil {
			return false, false, uncertain("end", err)
		}
		if !look {
			t := m.retired(&r, store.Ended, "")
			version = t.Version
			switch err := m.store.Replace(ctx, t, r.Version); {
			case err == nil:
				return true, true, nil
			case errors.Is(err, store.ErrNotFound):
				return true, false, c.gone()
			}
		}
		look = false
		next, err := m.store.Load(ctx, key)
		switch {
		case errors.Is(err, store.ErrNotFound):
			return true, false, c.gone()
		case err != nil:
			return false, false, uncertain("end", err)
		case next.Kind == store.Live && (next.Principal != who || !wanted(info(&next).Handle)):
			return false, false, nil
		case next.Kind == store.Live:
			r = next
		case next.Kind == store.Renewed && next.Principal == who, next.Kind == store.Replaced && who != "" && next.Principal == who:
			key, look = next.MovedTo, true
		case next.Kind == store.Replaced, next.Kind == store.Renewed:
			return false, false, nil
		default:
			return true, next.Version == version, nil
		}
	}
}
