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
	defer k.turns.leave(v.Record.Key, write{})
	forget, _, err = k.end(bounded, v.Record, v.stored(), v.Record.Principal, 0, anyRecord)
	return forget, err
}

func anyRecord(*store.Record) bool { return true }

// end replaces a session's record by a tombstone of kind Ended, wherever the session has moved meanwhile. who is the
// principal whose sessions may be ended, and wanted selects among them: a login may have taken over another session.
// sent is the version of a tombstone that was sent before and may be there already, or 0.
//
// forget reports whether the session is gone, so that the browser may delete its cookie. did reports whether this call
// has ended it.
func (k *Engine) end(ctx context.Context, r store.Record, seen time.Time, who string, sent uint64,
	wanted func(*store.Record) bool) (forget, did bool, err error) {
	key, version := r.Key, sent
	if version == 0 {
		version = store.NewVersion()
	}
	look := r.Kind != store.Live || sent != 0
	if r.Kind != store.Live {
		key = r.MovedTo
	}
	s := &saving{k: k, at: seen}
	for {
		if err := s.again(ctx); err != nil {
			return false, false, Uncertain("end", err)
		}
		if !look {
			t := k.tombstone(&r, store.Ended, "")
			// Each attempt has the same version, since an earlier attempt may have been applied late.
			t.Version = version
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
			if next.Version != r.Version {
				s.conflicts++
			}
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

// OnEnd is called for each session that was ended, or could not be ended.
type OnEnd func(r *store.Record, err error)

// EndPrincipal ends the sessions of a principal, or with handles only those for which it returns true. It returns how
// many it ended.
//
// StoreTimeout bounds the whole call. So a tombstone that leads to a session which the listing has missed doesn't
// expire during the call.
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
	batch, some := store.BatchReplacer(nil), 1
	if b, ok := store.As[store.BatchReplacer](k.store); ok {
		batch, some = b, endSome
	}
	n, err = endEach(l.Principal(bounded, principal), some, func(r *store.Record) bool {
		// Tombstones count: the session that one leads to may not have been in the index when the index was read.
		skip := r.Kind == store.Ended // rule: TombIdx
		return !skip && r.Principal == principal && (r.Kind != store.Live || wanted(r))
	}, func(rs []store.Record) (int, error) {
		return k.endListed(bounded, batch, rs, began, wanted, on)
	})
	if err == nil && time.Since(began) > k.Grace { // the store went on after the end of its context
		err = uncertainEnds(n, errors.New("the store took longer than Grace"))
	}
	return n, err
}

// endListed ends the sessions of rs. One call of the store ends all that have not changed since they were listed; the
// others are ended one by one. It returns how many it ended.
func (k *Engine) endListed(ctx context.Context, batch store.BatchReplacer, rs []store.Record, seen time.Time,
	wanted func(*store.Record) bool, on OnEnd) (n int, err error) {
	sent := map[string]uint64{} // the versions of the tombstones
	ended := map[string]bool{}
	if len(rs) > 1 {
		var markers []store.Record
		var versions []uint64
		for i := range rs {
			if r := &rs[i]; r.Kind == store.Live {
				t := k.tombstone(r, store.Ended, "")
				markers, versions, sent[r.Key] = append(markers, t), append(versions, r.Version), t.Version
			}
		}
		replaced, err := batch.ReplaceBatch(ctx, markers, versions)
		switch {
		case err == nil:
			for i := range markers {
				ended[markers[i].Key] = replaced[i]
			}
		case errors.Is(err, errors.ErrUnsupported): // of a wrapper
			clear(sent)
		}
	}
	for i := range rs {
		r, did := &rs[i], true
		rest := !ended[r.Key] // rule: BatchRest
		if rest {
			if _, did, err = k.end(ctx, *r, seen, r.Principal, sent[r.Key], wanted); err != nil {
				on(r, err)
				return n, err
			}
		}
		if k.ended(r, did, seen, on) {
			n++
		}
	}
	return n, nil
}

// ended calls on for a session that was ended, and reports whether the session counts as one.
func (k *Engine) ended(r *store.Record, did bool, seen time.Time, on OnEnd) bool {
	if !did || r.Kind == store.Live && !k.Lists(r, seen) {
		return false // no list shows it: by the present timeouts it has ended already
	}
	on(r, nil)
	return true
}

// EndFound ends the listed sessions for which del returns true, of any principal. It returns how many it ended.
// StoreTimeout bounds the end of each session, and ctx the whole call. Calls of del don't overlap.
func (k *Engine) EndFound(ctx context.Context, list iter.Seq2[store.Record, error], del func(*store.Record) bool,
	on OnEnd) (n int, err error) {
	var mu sync.Mutex
	found := func(r *store.Record) bool {
		mu.Lock()
		defer mu.Unlock()
		return del(r)
	}
	return endEach(list, 1, func(r *store.Record) bool {
		return r.Kind != store.Ended && (r.Kind != store.Live || found(r))
	}, func(rs []store.Record) (int, error) {
		return k.endFound(ctx, rs[0].Key, found, on)
	})
}

// endFound ends the session that was listed under key, wherever it has moved. It reads the record again, since a list
// may be older than Grace.
func (k *Engine) endFound(parent context.Context, key string, del func(*store.Record) bool, on OnEnd) (int, error) {
	began := time.Now()
	ctx := &timeout{}
	ctx.forLoad(parent, began.Add(k.StoreTimeout))
	defer ctx.cancel()
	for range maxHops + 1 {
		r, err := k.store.Load(ctx, key)
		switch {
		case errors.Is(err, store.ErrNotFound):
			return 0, nil
		case err != nil:
			return 0, err
		case r.Kind == store.Renewed, r.Kind == store.Replaced:
			key = r.MovedTo
		case r.Kind != store.Live || !del(&r):
			return 0, nil
		default:
			handle := HandleOf(&r)
			same := func(now *store.Record) bool { return HandleOf(now) == handle }
			return k.endListed(ctx, nil, []store.Record{r}, began, same, on)
		}
	}
	return 0, fmt.Errorf("more than %d renewals within Grace", maxHops)
}

// A store that is a BatchReplacer ends many sessions in one call. For other stores the first few sessions are ended one
// after the other: most users have no more, and a failing store doesn't get many calls at once. The rest is ended by
// several concurrent calls, since each is a round trip.
const (
	endSome   = 256
	endFew    = 8
	endAtOnce = 64
)

// endEach calls end for the wanted ones of the listed records, some at a time, concurrently, until one call fails. It
// returns after all calls have returned, with the number of ended sessions, also beside an error.
func endEach(list iter.Seq2[store.Record, error], some int, wanted func(*store.Record) bool,
	end func([]store.Record) (n int, err error)) (int, error) {
	var (
		wg       sync.WaitGroup
		free     = make(chan struct{}, max(2, endAtOnce/some))
		mu       sync.Mutex // of what follows
		ended    int
		failure  error
		panicked any // by the application's function: the caller's goroutine panics with the same value
	)
	note := func(n int, err error) (stop bool) {
		mu.Lock()
		defer mu.Unlock()
		ended += n
		if failure == nil {
			failure = err
		}
		return failure != nil || panicked != nil
	}
	one := func(rs []store.Record) {
		defer func() {
			if p := recover(); p != nil {
				mu.Lock()
				defer mu.Unlock()
				panicked = p
			}
			<-free
		}()
		note(end(rs))
	}
	func() {
		defer wg.Wait()
		begun := 0
		var rs []store.Record
		begin := func() {
			these := rs
			rs = nil
			free <- struct{}{}
			if begun++; some == 1 && begun <= endFew {
				one(these)
			} else {
				wg.Go(func() { one(these) })
			}
		}
		for r, err := range list {
			if err != nil {
				if len(rs) > 0 && !note(0, nil) {
					begin() // what was listed before
				}
				note(0, err)
				return
			}
			if note(0, nil) {
				return
			}
			if !wanted(&r) {
				continue
			}
			if rs = append(rs, r); len(rs) == some {
				begin()
			}
		}
		if len(rs) > 0 {
			begin()
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
