package protocol

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/hipflask/session/store"
)

// End implements Keeper: it ends the session of v wherever it has moved, but not across principals.
func (k *Engine) End(ctx context.Context, v *View) (forget bool, err error) {
	bounded := &timeout{}
	bounded.forSave(ctx, time.Now().Add(k.StoreTimeout))
	defer bounded.cancel()
	if _, _, err := k.turns.enter(bounded, v.Record.Key, nil); err != nil {
		return false, (&saving{}).bound(err)
	}
	defer k.turns.leave(v.Record.Key, 0)
	forget, _, err = k.end(bounded, v.Record, v.At, v.Record.Principal, anyHandle)
	return forget, err
}

func anyHandle(string) bool { return true }

// end replaces a session's record by the marker of its end, wherever it has moved meanwhile. who is the principal that
// the end is for, and wanted tells by their handles which of the principal's sessions: a login may have taken over another.
//
// forget: the session is gone, and the browser may forget its cookie. did: it was this call that ended it.
func (k *Engine) end(ctx context.Context, r store.Record, seen time.Time, who string, wanted func(handle string) bool) (forget, did bool, err error) {
	key := r.Key
	look := r.Kind != store.Live
	if look {
		key = r.MovedTo
	}
	s := &saving{k: k, at: seen}
	var version uint64
	for {
		if err := s.again(ctx); err != nil {
			return false, false, Uncertain("end", err)
		}
		if !look {
			t := k.tombstone(&r, store.Ended, "")
			version = t.Version
			err := k.store.Replace(ctx, t, r.Version) // rule: CASEnd
			switch {
			case err == nil:
				return true, true, nil // rule: Marker
			case errors.Is(err, store.ErrNotFound):
				return true, false, s.gone()
			}
		}
		look = false
		next, err := s.load(ctx, key)
		switch {
		case errors.Is(err, store.ErrNotFound):
			return true, false, s.gone()
		case err != nil:
			return false, false, Uncertain("end", err)
		case next.Kind == store.Live && (next.Principal != who || !wanted(HandleOf(&next))): // rule: HopEnd
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

// OnEnd is told of each session that a call ended, or could not end.
type OnEnd func(r *store.Record, err error)

// EndPrincipal ends those sessions of a principal whose handles are wanted; nil: all. It returns how many it ended.
func (k *Engine) EndPrincipal(ctx context.Context, l store.Lister, principal string, wanted func(handle string) bool, on OnEnd) (n int, err error) {
	if wanted == nil {
		wanted = anyHandle
	}
	for range maxAttempts {
		began := time.Now()
		for r, err := range l.Principal(ctx, principal) {
			if err != nil {
				return n, Unavailable("revoke", err)
			}
			// Tombstones count: where they lead may not have been in the index yet when that was read.
			skip := r.Kind == store.Ended // rule: TombIdx
			if skip || r.Principal != principal || r.Kind == store.Live && !wanted(HandleOf(&r)) {
				continue
			}
			did, err := k.endOne(ctx, r, began, wanted, on)
			if err != nil {
				return n, err
			}
			if did {
				n++
			}
		}
		if time.Since(began) <= k.Grace {
			return n, nil
		}
		// A tombstone may have expired before the loop came to it, and where it led may have been missed: list again.
	}
	return n, Uncertain("revoke", fmt.Errorf("listing the principal's sessions takes longer than Grace %v", k.Grace))
}

func (k *Engine) endOne(ctx context.Context, r store.Record, began time.Time, wanted func(string) bool, on OnEnd) (did bool, err error) {
	bounded := &timeout{}
	bounded.forLoad(ctx, time.Now().Add(k.StoreTimeout))
	defer bounded.cancel()
	_, did, err = k.end(bounded, r, began, r.Principal, wanted)
	if errors.Is(err, ErrUncertain) && time.Since(began) > k.Grace {
		return false, nil // EndPrincipal lists again
	}
	if did && r.Kind == store.Live && !k.Lists(&r, began) {
		return false, nil // no list has it: it has ended for everybody who has the timeouts of now
	}
	if did || err != nil {
		on(&r, err)
	}
	return did, err
}

// EndFound ends those of the listed sessions for which del returns true, whoever's they are. It returns how many it ended.
func (k *Engine) EndFound(ctx context.Context, list iter.Seq2[store.Record, error], del func(*store.Record) bool, on OnEnd) (n int, err error) {
	for r, err := range list {
		if err != nil {
			return n, Unavailable("revoke", err)
		}
		if r.Kind == store.Ended || r.Kind == store.Live && !del(&r) {
			continue
		}
		did, err := k.endFound(ctx, r.Key, del, on)
		if err != nil {
			return n, err
		}
		if did {
			n++
		}
	}
	return n, nil
}

// endFound ends the session that was listed under key, or that it has moved to. It is read again, since a list may be older
// than Grace.
func (k *Engine) endFound(ctx context.Context, key string, del func(*store.Record) bool, on OnEnd) (bool, error) {
	for range maxHops + 1 {
		began := time.Now()
		r, err := k.read(ctx, key)
		switch {
		case errors.Is(err, store.ErrNotFound):
			return false, nil
		case err != nil:
			return false, Unavailable("revoke", err)
		case r.Kind == store.Renewed, r.Kind == store.Replaced:
			key = r.MovedTo
		case r.Kind != store.Live || !del(&r):
			return false, nil
		default:
			handle := HandleOf(&r)
			return k.endOne(ctx, r, began, func(h string) bool { return h == handle }, on)
		}
	}
	return false, Unavailable("revoke", fmt.Errorf("more than %d renewals within Grace", maxHops))
}

func (k *Engine) read(ctx context.Context, key string) (store.Record, error) {
	bounded := &timeout{}
	bounded.forLoad(ctx, time.Now().Add(k.StoreTimeout))
	defer bounded.cancel()
	return k.store.Load(bounded, key)
}
