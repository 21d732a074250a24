package protocol

import (
	"context"
	"errors"
	"time"

	"github.com/hipflask/session/internal/document"
	"github.com/hipflask/session/store"
)

// maxAttempts bounds how often one save sends its write, or follows a session that moves, not counting the attempts
// that another write came before. maxConflicts bounds those: of n processes that write a session, each loses n-1
// attempts for every one that it wins.
const (
	maxAttempts  = 64
	maxConflicts = 256
)

// saving is one run of [Engine.Save].
type saving struct {
	k *Engine
	c *Change

	base     store.Record      // the record that the changes are for
	document document.Document // of base
	at       time.Time         // when base was last known to be stored
	who      string            // the principal that the request acts under

	move      Move
	attempts  int
	conflicts int           // attempts that another write came before
	took      time.Duration // by the last write that did not succeed
	wrote     write
	turn      string    // the key whose turn this save has
	group     []*waiter // saves of other requests that wait for that turn: this one does them as well
	now       time.Time // when this attempt began
	unsure    bool      // a write failed without an answer: it may have been applied, or be in flight
	stale     bool      // base may have changed or ended since it was loaded
	moved     bool      // followed a tombstone of Renew
	ahead     bool      // base came with times in the future: the corrected ones have to be stored
	crossed   bool      // followed one of a move that retired the ID
	stored    bool
	created   bool // under c.Next
	overtaken bool // newer logins have ended the session that this one made
	dropped   bool
}

// Save implements Keeper.
func (k *Engine) Save(ctx context.Context, c *Change) (View, error) {
	now := time.Now()
	bounded := &c.timeout
	bounded.forSave(ctx, now.Add(k.StoreTimeout))
	defer bounded.cancel()
	s := saving{
		k: k, c: c, base: c.Base.Record, document: c.Base.Document, at: c.Base.stored(), who: c.Base.Record.Principal,
		move: c.Move, now: now, stale: c.Base.Stale, moved: c.Base.Moved, ahead: c.Base.Ahead,
	}
	err := s.run(bounded)
	c.Figures.Attempts = s.attempts
	if err != nil {
		return View{}, err
	}
	if k.MaxSessions > 0 && s.created && c.Move == Login {
		return limitLogin(bounded, s), nil
	}
	return s.result(), nil
}

func (s *saving) run(ctx context.Context) error {
	switch {
	case s.c.creates():
		return s.create(ctx)
	case s.c.onlyTouches() && !s.ahead:
		s.touch(ctx)
		return nil
	}
	s.turn = s.base.Key
	w, sent, err := s.k.turns.enter(ctx, s.turn, s.c.shareable())
	if w != nil {
		s.c.Figures.Waited = time.Since(w.came)
	}
	switch {
	case sent:
		return Uncertain("save", err)
	case err != nil:
		return s.bound(err)
	case w != nil && w.served:
		return s.served(w)
	}
	defer func() { // also if a function of an Update panics
		s.k.turns.putBack(s.turn, s.group)
		s.k.turns.leave(s.turn, s.wrote)
	}()
	if s.move != Stay {
		s.now = time.Now()
		return s.moveID(ctx)
	}
	if w != nil {
		// Another save has changed the record meanwhile, most likely.
		sleep(ctx, w.pause)
		s.c.Figures.Waited = time.Since(w.came)
		if err := s.reload(ctx); err != nil || s.dropped {
			return err
		}
	}
	return s.change(ctx)
}

// jitter returns a random duration of up to most.
func jitter(most time.Duration) time.Duration {
	most = max(min(most, longestPause), 1)
	return time.Duration(store.NewVersion() % uint64(most))
}

func sleep(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	pause := time.NewTimer(d)
	defer pause.Stop()
	select {
	case <-pause.C:
	case <-ctx.Done():
	}
}

// result says what became of the Change.
func (s *saving) result() View {
	c := s.c
	switch {
	case s.dropped:
		c.Fate = Dropped
	case s.crossed:
		c.Fate = Crossed
	case s.created:
		c.Fate, c.Token = Created, c.Next.Token
		s.moved, s.stale = false, false
	case s.stored:
		c.Fate = Stored
	}
	v := View{State: Live, Moved: s.moved, Stale: s.stale, Record: s.base, Document: s.document, At: s.at}
	if s.stale {
		v.At = c.Base.At
	}
	return v
}

func (s *saving) note(n Note) { s.c.Notes = append(s.c.Notes, n) }

// again counts an attempt.
func (s *saving) again(ctx context.Context) error {
	err := ctx.Err()
	if s.attempts > 0 && err != nil || s.failed() >= maxAttempts || s.conflicts >= maxConflicts {
		return errBusy // so far the store has answered
	}
	s.attempts++
	return err
}

// failed counts the attempts that made no progress, and that no other write came before either.
func (s *saving) failed() int { return s.attempts - s.conflicts }

// load reads the record under key. After a failure it pauses before it loads: a pause between a load and the write that
// depends on it would only make the record older. After a conflict it loads at once (see rivals), but for a random
// moment, which grows with the conflicts: else it could stay in step with a process that is always a little earlier.
func (s *saving) load(ctx context.Context, key string) (store.Record, error) {
	if n := s.failed(); n > 1 {
		sleep(ctx, jitter(max(s.took, time.Microsecond)<<min(n-1, 20)))
	} else {
		sleep(ctx, jitter(s.took*time.Duration(s.conflicts)/16))
	}
	s.now = time.Now()
	return s.k.store.Load(ctx, key)
}

// bound is the error when the attempts or the time are used up.
func (s *saving) bound(err error) error {
	switch {
	case s.unsure: // rule: UncertainBound
		return Uncertain("save", err)
	case err == errBusy:
		return &BusyError{}
	}
	return Unavailable("save", err)
}

// gone is for a record that is no longer there: its session has ended. But a request that outlived the tombstones can't
// know that.
func (s *saving) gone() error {
	if time.Since(s.at) > s.k.Grace { // rule: Elapsed
		return Uncertain("save",
			errors.New("the request took longer than Grace, and its session is no longer under its ID"))
	}
	s.dropped = true
	return nil
}

// mayFollow reports whether this request may continue on r, a record that it reached through tombstones, or a
// tombstone. It never crosses from one principal to another. A Login with a Clear takes nothing over from who was
// anonymous: what such a request adds, having seen nobody logged in, stays behind, wherever it has followed the session
// meanwhile.
func (s *saving) mayFollow(r *store.Record) bool {
	if r.Kind == store.Replaced && len(r.Public) > 0 && s.c.Base.Record.Principal == "" { // rule: Cleared
		return false
	}
	return s.who == "" || s.who == r.Principal // rule: Hop
}

func (s *saving) build(r store.Record, d document.Document) (store.Record, document.Document, bool, error) {
	r, d, changed, err := s.k.Records.build(s.c, r, d, s.now)
	r.Version = store.NewVersion()
	return r, d, changed || s.ahead, err
}

// first is the record of a session that begins with these changes.
func (s *saving) first() (store.Record, document.Document, error) {
	r, d, err := s.k.Records.first(s.c, s.now)
	r.Version = store.NewVersion()
	return r, d, err
}

// create stores a new session.
func (s *saving) create(ctx context.Context) error {
	r, d, err := s.first()
	if err != nil {
		return err
	}
	s.attempts = 1
	if err := s.put(ctx, &r); err != nil {
		return err
	}
	s.base, s.document, s.created = r, d, true
	return nil
}

// put creates r, whose ID nobody has yet: whatever else happens, nothing was changed.
func (s *saving) put(ctx context.Context, r *store.Record) error {
	s.at = s.now
	err := s.k.store.Create(ctx, *r)
	if err == nil {
		return nil
	}
	if now, lookErr := s.k.store.Load(ctx, r.Key); lookErr == nil && now.Version == r.Version {
		return nil
	}
	return Unavailable("create", err)
}

// change brings the changes into the record, wherever it has gone meanwhile, and those of the group with them.
func (s *saving) change(ctx context.Context) error {
	for {
		r, d, changed, err := s.build(s.base, s.document)
		if s.stale && (err != nil || !changed) {
			// What makes no difference to an old record may make one to the record of now.
			if err := s.reload(ctx); err != nil || s.dropped {
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
		own := r
		r, changed = s.buildGroup(r, d, changed)
		if !changed {
			if s.due() {
				s.touch(ctx)
			}
			s.serve(false)
			return nil
		}
		done, err := s.write(ctx, r)
		if err != nil || s.dropped {
			s.giveUpGroup(err)
			return err
		}
		if done {
			s.wrote = write{r.Version, s.base.Version, s.now, s.conflicts > 0}
			s.base, s.document, s.stored = own, d, true
			if len(s.group) > 0 {
				s.base.Version = store.NewVersion() // what is stored has the changes of the group as well
			}
			s.serve(true)
			return nil
		}
	}
}

// write sends r until it is known to be stored (done), or s.base has moved and the changes have to be built anew, or
// the session turns out to have ended (s.dropped).
func (s *saving) write(ctx context.Context, r store.Record) (done bool, err error) {
	for {
		if err := s.again(ctx); err != nil {
			return false, s.bound(err)
		}
		at := s.now
		err := s.k.store.Replace(ctx, r, s.base.Version)
		switch {
		case err == nil:
			s.at, s.stale = at, false
			return true, nil
		case errors.Is(err, store.ErrNotFound):
			return false, s.gone()
		case errors.Is(err, store.ErrConflict):
			s.c.Figures.Conflicts++
		default:
			s.unsure = true
		}
		s.took = time.Since(at)
		again, done, err := s.look(ctx, r.Version)
		if !again {
			if !done {
				s.conflicts++
			}
			return done, err
		}
	}
}

// look finds out what became of a write of the given version to base, and where the session is now. again: it was not
// applied, and can be sent once more as it is.
func (s *saving) look(ctx context.Context, version uint64) (again, done bool, err error) {
	if err := ctx.Err(); err != nil {
		return false, false, s.bound(err)
	}
	r, found, err := s.read(ctx, s.base.Key)
	switch {
	case err != nil:
		return false, false, err
	case found && r.Version == version: // rule: Own
		s.at, s.stale = s.now, false
		return false, true, nil
	case found && r.Kind == store.Live && r.Version == s.base.Version:
		s.at, s.stale = s.now, false
		return true, false, nil // one version can be applied only once
	case s.unsure && s.once(): // rule: Once
		return false, false, Uncertain("save", errLost)
	}
	return false, false, s.followFrom(ctx, r, found)
}

// reload makes the record that the session has now the base, unless the session has ended.
func (s *saving) reload(ctx context.Context) error {
	_, _, err := s.look(ctx, 0)
	return err
}

// read loads the record under key, together with the saves that wait for it.
func (s *saving) read(ctx context.Context, key string) (r store.Record, found bool, err error) {
	s.gather(key)
	r, err = s.load(ctx, key)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		if s.conflicts > maxAttempts && ctx.Err() != nil {
			return r, false, s.bound(errBusy) // the time went to other writers
		}
		return r, false, Uncertain("save", err) // also after a plain conflict; rule: Uncertain
	}
	return r, err == nil, nil
}

// followFrom makes the live record the base that tombstones lead to, from r on. If there is none that this request may
// continue on, its changes are dropped.
func (s *saving) followFrom(ctx context.Context, r store.Record, found bool) (err error) {
	for {
		switch {
		case !found:
			return s.gone()
		case r.Kind == store.Live:
			s.dropped = !s.mayFollow(&r) || !s.follow(ctx, r)
			return nil
		case r.Kind != store.Renewed && r.Kind != store.Replaced, !s.mayFollow(&r):
			s.dropped = true
			return nil
		case s.c.Take && r.Kind == store.Replaced: // rule: HopTake
			s.dropped = true
			return nil
		}
		s.hop(&r)
		if err = s.again(ctx); err != nil {
			return s.bound(err)
		}
		if r, found, err = s.read(ctx, r.MovedTo); err != nil {
			return err
		}
	}
}

var errLost = errors.New("the store's answer was lost")

// hop follows a tombstone.
func (s *saving) hop(r *store.Record) {
	s.k.turns.putBack(s.turn, s.group) // each of the group has to judge for itself whether it may follow
	s.group = nil
	s.who = r.Principal
	s.moved = s.moved || r.Kind == store.Renewed
	s.crossed = s.crossed || r.Kind == store.Replaced // rule: Crossed
}

// follow makes the live record r, which was just loaded, the base. A record that can't be decoded is ended instead.
func (s *saving) follow(ctx context.Context, r store.Record) bool {
	d, err := document.Split(s.k.Records.Serializer, r.Data, r.Public)
	if err != nil {
		s.k.discard(ctx, &r)
		s.note(Note{Kind: Undecodable, Handle: r.Handle, Principal: r.Principal, Label: r.Label})
		return false
	}
	s.ahead = correct(&r, s.now)
	if HandleOf(&r) != HandleOf(&s.base) { // rule: Attributes
		s.leaveAttributes()
	}
	s.who = r.Principal
	s.base, s.document, s.at, s.stale = r, d, s.now, false
	return true
}

// leaveAttributes drops changes of attributes, which belong to the session before a login.
func (s *saving) leaveAttributes() {
	if name := s.c.Values.DropAttributes(); name != "" {
		s.note(Note{
			Kind: AttributesLeft, Handle: s.base.Handle, Principal: s.base.Principal, Label: s.base.Label,
			Name: name, Err: ErrEnded,
		})
	}
}

// touch moves the time of the last activity, if that is due. A conflict means that somebody else just wrote: fine.
func (s *saving) touch(ctx context.Context) {
	s.attempts++
	t := s.now.Truncate(time.Millisecond)
	expires := s.k.Records.Expiry(s.base.CreatedAt, t, s.k.Records.Persistent(s.document))
	err := s.k.store.Touch(ctx, s.base.Key, s.base.Version, t, expires)
	switch {
	case err == nil:
		s.base.LastSeenAt, s.base.ExpiresAt, s.at, s.stale = t, expires, s.now, false
	case !errors.Is(err, store.ErrConflict) && !errors.Is(err, store.ErrNotFound):
		// the response doesn't depend on it
		s.note(Note{Kind: TouchFailed, Handle: s.base.Handle, Err: Unavailable("touch", err)})
	}
}
