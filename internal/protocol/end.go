package protocol

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
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
	forget, _, err = k.end(bounded, v.Record, v.At, v.Record.Principal, anyRecord)
	return forget, err
}

func anyRecord(*store.Record) bool { return true }

// end replaces a session's record by the marker of its end, wherever it has moved meanwhile. who is the principal that
// the end is for, and wanted tells which of the principal's sessions: a login may have taken over another.
//
// forget: the session is gone, and the browser may forget its cookie. did: it was this call that ended it.
func (k *Engine) end(ctx context.Context, r store.Record, seen time.Time, who string,
	wanted func(*store.Record) bool) (forget, did bool, err error) {
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
		case next.Kind == store.Live && (next.Principal != who || !wanted(&next)): // rule: HopEnd
			return false, false, nil
		case next.Kind == store.Live:
			r = next
		case next.Kind == store.Renewed && next.Principal == who, next.Kind == store.Replaced && who != "" &&
			next.Principal == who:
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

// EndPrincipal ends those sessions of a principal with these handles; nil: all. It returns how many it ended.
//
// StoreTimeout bounds the whole call. So no tombstone expires meanwhile that leads to a session which the listing has
// missed.
func (k *Engine) EndPrincipal(ctx context.Context, l store.Lister, principal string, handles func(string) bool,
	on OnEnd) (n int, err error) {
	wanted := anyRecord
	if handles != nil {
		wanted = func(r *store.Record) bool { return handles(HandleOf(r)) }
	}
	began := time.Now()
	bounded := &timeout{}
	bounded.forLoad(ctx, began.Add(k.StoreTimeout))
	defer bounded.cancel()
	n, err = endEach(l.Principal(bounded, principal), func(r *store.Record) bool {
		// Tombstones count: where they lead may not have been in the index yet when that was read.
		skip := r.Kind == store.Ended // rule: TombIdx
		return !skip && r.Principal == principal && (r.Kind != store.Live || wanted(r))
	}, func(r *store.Record) (bool, error) {
		return k.endOne(bounded, r, began, wanted, on)
	})
	if err == nil && time.Since(began) > k.Grace { // of a store that goes on after the end of its context
		err = uncertainEnds(n, errors.New("the store took longer than Grace"))
	}
	return n, err
}

func (k *Engine) endOne(ctx context.Context, r *store.Record, seen time.Time, wanted func(*store.Record) bool,
	on OnEnd) (did bool, err error) {
	_, did, err = k.end(ctx, *r, seen, r.Principal, wanted)
	if did && r.Kind == store.Live && !k.Lists(r, seen) {
		return false, nil // no list has it: it has ended for everybody who has the timeouts of now
	}
	if did || err != nil {
		on(r, err)
	}
	return did, err
}

// EndFound ends those of the listed sessions for which del returns true, whoever's they are. It returns how many it
// ended. StoreTimeout bounds the end of each session, and ctx the whole call. No two calls of del overlap.
func (k *Engine) EndFound(ctx context.Context, list iter.Seq2[store.Record, error], del func(*store.Record) bool,
	on OnEnd) (n int, err error) {
	var mu sync.Mutex
	found := func(r *store.Record) bool {
		mu.Lock()
		defer mu.Unlock()
		return del(r)
	}
	return endEach(list, func(r *store.Record) bool {
		return r.Kind != store.Ended && (r.Kind != store.Live || found(r))
	}, func(r *store.Record) (bool, error) {
		return k.endFound(ctx, r.Key, found, on)
	})
}

// endFound ends the session that was listed under key, or that it has moved to. It is read again, since a list may be
// older than Grace.
func (k *Engine) endFound(parent context.Context, key string, del func(*store.Record) bool, on OnEnd) (bool, error) {
	began := time.Now()
	ctx := &timeout{}
	ctx.forLoad(parent, began.Add(k.StoreTimeout))
	defer ctx.cancel()
	for range maxHops + 1 {
		r, err := k.store.Load(ctx, key)
		switch {
		case errors.Is(err, store.ErrNotFound):
			return false, nil
		case err != nil:
			return false, err
		case r.Kind == store.Renewed, r.Kind == store.Replaced:
			key = r.MovedTo
		case r.Kind != store.Live || !del(&r):
			return false, nil
		default:
			handle := HandleOf(&r)
			return k.endOne(ctx, &r, began, func(now *store.Record) bool { return HandleOf(now) == handle }, on)
		}
	}
	return false, fmt.Errorf("more than %d renewals within Grace", maxHops)
}

// A call ends the first few sessions one after the other: most users have no more, and a store that fails is not asked
// by many at once. Of the rest it ends some concurrently, since each is a round trip of its own.
const (
	endFew    = 8
	endAtOnce = 64
)

// endEach calls end for the listed records that are wanted, concurrently, until one fails. It returns how many were
// ended, also with an error, after all calls have returned.
func endEach(list iter.Seq2[store.Record, error], wanted func(*store.Record) bool,
	end func(*store.Record) (did bool, err error)) (int, error) {
	var (
		wg       sync.WaitGroup
		free     = make(chan struct{}, endAtOnce)
		mu       sync.Mutex // of what follows
		ended    int
		failure  error
		panicked any // by a function of the application's, for its own goroutine
	)
	note := func(did bool, err error) {
		mu.Lock()
		defer mu.Unlock()
		if did {
			ended++
		}
		if failure == nil {
			failure = err
		}
	}
	stopped := func() bool {
		mu.Lock()
		defer mu.Unlock()
		return failure != nil || panicked != nil
	}
	one := func(r store.Record) {
		defer func() {
			if p := recover(); p != nil {
				mu.Lock()
				defer mu.Unlock()
				panicked = p
			}
			<-free
		}()
		note(end(&r))
	}
	func() {
		defer wg.Wait()
		begun := 0
		for r, err := range list {
			if err != nil {
				note(false, err)
			}
			if stopped() {
				return
			}
			if !wanted(&r) {
				continue
			}
			free <- struct{}{}
			if begun++; begun <= endFew {
				one(r)
			} else {
				wg.Go(func() { one(r) })
			}
		}
	}()
	switch {
	case panicked != nil:
		panic(panicked)
	case failure == nil:
		return ended, nil
	case ended == 0 && !errors.Is(failure, ErrUncertain):
		return 0, Unavailable("revoke", failure)
	case errors.Is(failure, ErrUncertain):
		return ended, fmt.Errorf("%w; %d sessions had been ended", failure, ended)
	}
	return ended, uncertainEnds(ended, failure)
}

func uncertainEnds(n int, cause error) error {
	return Uncertain("revoke", fmt.Errorf("%v; %d sessions had been ended", cause, n))
}
