package filestore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hipflask/session/store"
)

// sweeper is the state that a Store keeps between calls of Sweep. It only saves work, so it may be lost.
type sweeper struct {
	turn    chan struct{} // holds a token: one Sweep of a Store at a time
	cursors map[span]cursor
	walk    int                 // the shard to walk through
	walked  int                 // how many of its files were looked at in the call before
	emptied map[string]struct{} // folders of shards that may be empty now
	looks   atomic.Int64        // how many files were looked at since Open, for tests
}

func (s *sweeper) init() {
	s.turn, s.cursors, s.emptied = make(chan struct{}, 1), make(map[span]cursor), make(map[string]struct{})
	s.walk = int(time.Now().UnixNano() % shards) // random, so that a program that restarts often visits all of them
	s.turn <- struct{}{}
}

// A cursor is the position of Sweep in a file of the queue that it has not removed: the file's span has not ended, so
// lines may be added and others fall due, or the limit was reached. Each pass reads the file from its beginning. It
// skips the lines that the last pass has handled: those before read that were due at done.
type cursor struct {
	pos    int64 // of the pass
	until  int64 // when the pass began
	read   int64
	done   int64
	failed bool // a line could not be handled
}

// patience is how long Sweep waits for a record that somebody else has locked.
const patience = 100 * time.Millisecond

// Sweep implements [store.Sweeper]. It first looks at the records that are due according to its queue. Then it looks at
// one of 1024 shards, in turn, for files that the queue does not know: records whose line was lost, files that a killed
// process left, and entries of principals without a record. If one record fails, Sweep removes the others and returns
// the first error.
//
// Several processes may call it, but one is enough.
func (s *Store) Sweep(ctx context.Context, limit int) (removed int, err error) {
	select {
	case <-s.sweep.turn:
		defer func() { s.sweep.turn <- struct{}{} }()
	case <-ctx.Done():
		return 0, fmt.Errorf("filestore: sweep: %w", ctx.Err())
	}
	w := &sweep{Store: s, ctx: ctx, now: now(), left: limit}
	if w.queue() {
		w.shard()
	}
	if !w.stop() {
		w.rmdirs() // not while there is more to remove: most folders have files in them until the last batch
	}
	// A caller that gets less than the limit concludes that nothing is left.
	w.do(func(r *root) error {
		r.keep()
		return nil
	})
	return limit - w.left, w.err
}

// sweep is one call of Sweep.
type sweep struct {
	*Store
	ctx context.Context
	now int64

	mu   sync.Mutex
	left int   // how many records it may still remove
	err  error // the first
}

// do calls fn, which must be short, so that Close never waits long. It reports whether fn has succeeded or has not
// found a file.
func (w *sweep) do(fn func(*root) error) bool {
	err := w.run(w.ctx, "sweep", fn)
	if err == errAbsent {
		return true
	}
	if !errors.Is(err, errBusy) {
		w.mu.Lock()
		w.err = cmp.Or(w.err, err)
		w.mu.Unlock()
	}
	return err == nil
}

// stop tells whether the call has to end.
func (w *sweep) stop() bool { return w.left <= 0 || w.ctx.Err() != nil || w.closed.Load() }

// mayBeEmpty notes the folders of a record's names.
func (w *sweep) mayBeEmpty(n name, principal []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sweep.emptied[path.Dir(n.path())] = struct{}{}
	if len(principal) > 0 {
		t, _ := tagOf(string(principal))
		w.sweep.emptied[t.dir()] = struct{}{}
	}
}

// rmdirs removes the empty folders of shards. A writer makes a missing folder again.
func (w *sweep) rmdirs() {
	for dirs := range slices.Chunk(slices.Collect(maps.Keys(w.sweep.emptied)), chunk) {
		w.do(func(r *root) error {
			for _, dir := range dirs {
				r.rmdir(dir) // fails if there is a file in it
			}
			return nil
		})
	}
	clear(w.sweep.emptied)
}

// queue goes through the queue's files that are due, and reports whether it reached their end.
func (w *sweep) queue() bool {
	var due []span
	w.do(func(r *root) error {
		files, err := r.list(queueDir)
		for _, file := range files {
			if s, ok := parseSpan(file); ok && s.start() <= w.now {
				due = append(due, s)
			}
		}
		return err
	})
	slices.Sort(due)
	maps.DeleteFunc(w.sweep.cursors, func(s span, _ cursor) bool { return !slices.Contains(due, s) })
	for _, s := range due {
		c, all := w.span(s, w.sweep.cursors[s])
		w.sweep.cursors[s] = c
		switch {
		case !all:
			return false
		case c.failed:
			delete(w.sweep.cursors, s) // from the beginning, next time
		case s.past(w.now):
			delete(w.sweep.cursors, s)
			w.do(func(r *root) error { return r.removeQuietly(s.path()) })
		}
	}
	return !w.stop()
}

// span handles the due lines of a file, and reports whether it reached their end.
func (w *sweep) span(s span, c cursor) (cursor, bool) {
	buf := make([]byte, pageSize)
	for {
		if c.pos == 0 {
			c.until = w.now
		}
		var n int
		if !w.do(func(r *root) (err error) {
			n, err = r.readQueue(s, buf, c.pos)
			return err
		}) {
			return cursor{failed: true}, !w.stop()
		}
		if n < lineSize {
			c = cursor{read: c.pos, done: c.until, failed: c.failed}
			if c.failed || c.done == w.now {
				return c, true
			}
			continue
		}
		var due []line
		for i := 0; i+lineSize <= n; {
			l, ok := parseLine(buf[i : i+lineSize])
			if !ok {
				i++ // the file was damaged: go on with the next valid line
				c.pos++
				continue
			}
			if l.due <= w.now && (c.pos >= c.read || l.due > c.done) {
				if len(due) == w.left || w.stop() {
					break // each line may belong to a record to remove
				}
				due = append(due, l)
			}
			i += lineSize
			c.pos += lineSize
		}
		if len(due) == 0 && w.stop() {
			return c, false
		}
		if !w.lines(due) {
			c.failed = true
		}
	}
}

// Two goroutines share the work, each a chunk of lines at a time. On two processors more goroutines sweep no faster and
// delay requests: the p99 of a request was 2 ms with four, and is 0.2 ms with two.
const (
	workers = 2
	chunk   = 16
)

// lines looks at the records of lines that are due, and reports whether none has failed.
func (w *sweep) lines(due []line) bool {
	if len(due) <= chunk {
		return w.chunk(due)
	}
	var failed atomic.Bool
	var group sync.WaitGroup
	chunks := make(chan []line)
	for range min(workers, (len(due)+chunk-1)/chunk) {
		group.Go(func() {
			for lines := range chunks {
				if !w.chunk(lines) {
					failed.Store(true)
				}
			}
		})
	}
	for lines := range slices.Chunk(due, chunk) {
		chunks <- lines
	}
	close(chunks)
	group.Wait()
	return !failed.Load()
}

func (w *sweep) chunk(lines []line) bool {
	return w.do(func(r *root) (first error) {
		for _, l := range lines {
			if err := w.look(r, l); first == nil || errors.Is(first, errBusy) {
				first = cmp.Or(err, first)
			}
		}
		return first
	})
}

// errBusy says that a record is locked, which is no failure.
var errBusy = errors.New("the record is locked")

// locked calls fn with the record in f if f still has the name n, and under its lock.
func (w *sweep) locked(r *root, f file, n name, fn func(b *buffers, cur, older *slot) error) error {
	ok, err := f.tryLock(true)
	if err == nil && !ok {
		ctx, cancel := context.WithTimeout(w.ctx, patience)
		defer cancel()
		if err = f.lock(ctx, true); ctx.Err() != nil {
			return errBusy
		}
	}
	if err != nil {
		return err
	}
	if same, err := r.is(f, n.path()); err != nil || !same {
		return err
	}
	b := pool.Get().(*buffers)
	defer pool.Put(b)
	cur, older, _, err := b.loadLocked(f)
	if err != nil {
		return err
	}
	return fn(b, cur, older)
}

// look removes the record of a line if the record has expired. Otherwise it queues the record again, if the line is the
// one that counts.
func (w *sweep) look(r *root, l line) error {
	w.sweep.looks.Add(1)
	f, err := r.openRecord(l.name, modeWrite)
	if err == errAbsent || err == errForeign {
		w.mayBeEmpty(l.name, nil)
		return nil
	} else if err != nil {
		return err
	}
	defer f.close()
	return w.locked(r, f, l.name, func(b *buffers, cur, older *slot) error {
		switch {
		case cur == nil:
			w.mayBeEmpty(l.name, nil)
			return r.unlink(l.name, cur)
		case cur.expired(w.now) || nameOf(string(cur.key)) != l.name:
			w.mayBeEmpty(l.name, cur.principal)
			if err := r.unlink(l.name, cur); err != nil || nameOf(string(cur.key)) != l.name {
				return err
			}
			w.mu.Lock()
			w.left--
			w.mu.Unlock()
			return nil
		case cur.queued != l.due:
			return nil
		}
		queued, err := r.enqueue(l.name, cur.expires)
		if err != nil {
			return err
		}
		return b.rewrite(f, cur, older, cur.seen, cur.expires, queued)
	})
}

// step is how many files the walk looks at in one call.
const step = 1024

// shard walks through a shard of records and of entries, or a part of it if it is large.
func (w *sweep) shard() {
	shard := w.sweep.walk
	for _, dir := range []string{sessionsDir, principalsDir} {
		w.sweep.emptied[dir+"/"+shardName(shard)] = struct{}{}
	}
	var records []name
	var entries []string
	w.do(func(r *root) (err error) {
		records, err = r.shard(shard)
		return err
	})
	w.do(func(r *root) (err error) {
		entries, err = r.list(principalsDir + "/" + shardName(shard))
		return err
	})
	for range step {
		i := w.sweep.walked
		if i >= len(records)+len(entries) {
			w.sweep.walk, w.sweep.walked = (shard+1)%shards, 0
			return
		}
		if w.stop() {
			return
		}
		w.do(func(r *root) error {
			if i < len(records) {
				return w.record(r, records[i])
			}
			return w.entry(r, shardName(shard), entries[i-len(records)])
		})
		w.sweep.walked++
	}
}

// record removes a file that has expired or holds no record. It restores a lost entry, as view does.
func (w *sweep) record(r *root, n name) error {
	rec, err := w.view(w.ctx, r, n, false)
	switch {
	case errors.Is(err, store.ErrNotFound), err == nil && nameOf(rec.Key) != n:
		return w.look(r, line{due: neverDue, name: n})
	case err == errAbsent:
		return nil
	}
	w.sweep.looks.Add(1)
	return err
}

// neverDue is a time that no line has, so that look queues nothing.
const neverDue = -1 << 63

// entry removes an entry without a record of its principal. Create makes and locks the file before the entry. So an
// entry without a file, or whose file has no such record under the lock, was left behind.
func (w *sweep) entry(r *root, shard, file string) error {
	w.sweep.looks.Add(1)
	_, n, ok := parseEntry(file)
	if !ok {
		return nil
	}
	entry := principalsDir + "/" + shard + "/" + file
	belongs := func(principal string) bool {
		t, _ := tagOf(principal)
		return t.entry(n) == entry
	}
	rec, err := w.view(w.ctx, r, n, false)
	if err == nil && belongs(rec.Principal) {
		return nil
	} else if err != nil && !errors.Is(err, store.ErrNotFound) && err != errAbsent {
		return err
	}
	f, err := w.openNew(r, n)
	if err == errForeign {
		return r.removeQuietly(entry)
	} else if err != nil {
		return err
	}
	defer f.close()
	return w.locked(r, f, n, func(_ *buffers, cur, _ *slot) error {
		if cur != nil && belongs(string(cur.principal)) {
			return nil
		}
		if err := r.removeQuietly(entry); err != nil || cur != nil {
			return err
		}
		w.mayBeEmpty(n, nil)
		return r.removeQuietly(n.path())
	})
}
