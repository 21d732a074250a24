package filestore

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/hipflask/session/store"
)

// This file reads and writes the file of one record.
//
// A write takes the file's lock (flock), reads the page, and overwrites the older slot in place. The other slot keeps
// the state before, so a process may be killed at any point, which also releases its lock. There is no temporary file
// and no rename, which on ext4 would wait for the disk.
//
// A load takes no lock. It is linearizable, because the sequence number in a slot only grows. Let c be the newest
// number when the load begins. The load reads the slot with c at some time after that, so it sees c there, or a later
// number, or a torn slot. If it sees both slots whole, the higher number is therefore at least c; and that write was
// either complete when the load began (c itself) or became complete before the load ended. No later load sees an older
// number, since the bytes that were read stay until the slot's next turn. A slot that was never written doesn't matter:
// its first write was incomplete when the slot was seen empty, hence the other slot held the newest.
//
// If a slot is torn, the other one may be outdated: with c in the torn slot, and c+1 already overwritten by c+3, the
// load could see c-1. So the load reads again, and if that does not help, reads under a shared lock. Then no write is
// in flight, a torn slot was left by a killed process, and the other slot is the newest.

// buffers are the memory for reading and writing a file, reused between operations.
type buffers struct {
	page  [pageSize]byte
	out   [slotSize]byte
	slots [2]slot
}

var pool = sync.Pool{New: func() any { return new(buffers) }}

// rereads is how often a load reads the page before it takes the lock.
const rereads = 3

// load returns the newest slot of the file, or nil if the file holds no record. It also returns the extent's data, if
// the slot has an extent and wantData is true.
func (b *buffers) load(ctx context.Context, f file, wantData bool) (*slot, []byte, error) {
	for range rereads {
		n, err := f.pread(b.page[:], 0)
		if err != nil {
			return nil, nil, fmt.Errorf("read: %w", err)
		}
		cur, _, anyTorn := decodePage(b.page[:n], &b.slots)
		if anyTorn {
			continue
		}
		if cur == nil || cur.at == 0 || !wantData {
			return cur, nil, nil
		}
		// A later write may have overwritten the extent: its checksum tells.
		switch data, ok, err := readExtent(f, cur); {
		case err != nil:
			return nil, nil, err
		case ok:
			return cur, data, nil
		}
	}
	if err := f.lock(ctx, false); err != nil {
		return nil, nil, err
	}
	cur, _, data, err := b.loadLocked(f)
	return cur, data, err
}

// loadLocked is load for the holder of the file's lock. It returns the older slot too, if that is valid.
func (b *buffers) loadLocked(f file) (cur, older *slot, data []byte, err error) {
	n, err := f.pread(b.page[:], 0)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("read: %w", err)
	}
	cur, older, _ = decodePage(b.page[:n], &b.slots)
	for cur != nil && cur.at != 0 {
		data, ok, err := readExtent(f, cur)
		if err != nil {
			return nil, nil, nil, err
		}
		if ok {
			return cur, older, data, nil
		}
		cur, older = older, nil // after a loss of power: the slot reached the disk, its extent did not
	}
	return cur, older, nil, nil
}

// readExtent returns the data of a slot's extent. ok is false if the data is not the one of the slot's write.
func readExtent(f file, s *slot) (data []byte, ok bool, err error) {
	size, err := f.size()
	if err != nil {
		return nil, false, fmt.Errorf("read: %w", err)
	}
	if s.end() > size { // checked before so much memory is allocated
		return nil, false, nil
	}
	data = make([]byte, s.dataLen)
	n, err := f.pread(data, s.at)
	if err != nil {
		return nil, false, fmt.Errorf("read: %w", err)
	}
	return data, n == len(data) && checksum(data) == le.Uint64(s.raw[offDataSum:]), nil
}

// write stores rec in the slot that is not cur's. older is the present content of that slot, if it is valid. If write
// fails, the file's record is still there.
func (b *buffers) write(f file, cur, older *slot, rec *store.Record, born, queued int64) error {
	var ext extent
	if !fits(rec) {
		ext = extent{at: pageSize, sum: checksum(rec.Data)}
		if cur != nil && cur.at != 0 && pageSize+int64(len(rec.Data)) > cur.at {
			ext.at = (cur.end() + pageSize - 1) / pageSize * pageSize // no room before cur's extent: behind it
		}
		if err := f.pwrite(rec.Data, ext.at); err != nil {
			f.truncate(reach(cur, older)) // the disk may be full: give back what was written
			return fmt.Errorf("write: %w", err)
		}
	}
	seq, index := uint64(1), 0
	if cur != nil {
		seq, index = cur.seq+1, 1-cur.index
	}
	raw := encode(b.out[:0], rec, seq, born, queued, ext)
	end := int64(pageSize)
	if ext.at != 0 {
		end = ext.at + int64(len(rec.Data))
	}
	if rec.Kind == store.Live || cur == nil || ext.at != 0 {
		return b.put(f, index, raw, end, cur, older)
	}
	// The tombstone of an ended session overwrites both slots: nothing of the data stays in the file, and damage to one
	// slot can't revive the session. The first write already replaces the record, so the second one may fail.
	whole := b.out[:]
	clear(whole[len(raw):])
	if err := b.put(f, index, whole, end, cur, older); err != nil {
		return err
	}
	seal(raw, seq+1)
	if f.pwrite(whole, int64(cur.index)*slotSize) == nil && cur.at != 0 {
		f.truncate(pageSize)
	}
	return nil
}

// rewrite stores cur again, with the given times, in the other slot. The slots then share their extent.
func (b *buffers) rewrite(f file, cur, older *slot, seen, expires, queued int64) error {
	raw := b.out[:copy(b.out[:], cur.raw)]
	le.PutUint64(raw[offSeen:], uint64(seen))
	le.PutUint64(raw[offExpires:], uint64(expires))
	le.PutUint64(raw[offQueued:], uint64(queued))
	seal(raw, cur.seq+1)
	return b.put(f, 1-cur.index, raw, cur.end(), cur, older)
}

func (b *buffers) put(f file, index int, raw []byte, end int64, cur, older *slot) error {
	if err := f.pwrite(raw, int64(index)*slotSize); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	if end = max(end, reach(cur)); reach(older) > end {
		// Give back the space of a session that was large. A load that still reads there reads again.
		f.truncate(end)
	}
	return nil
}

// reach returns where the last extent of the slots ends.
func reach(slots ...*slot) int64 {
	end := int64(pageSize)
	for _, s := range slots {
		if s != nil {
			end = max(end, s.end())
		}
	}
	return end
}

// How long to wait before trying a lock again. A holder needs ten microseconds, and half a millisecond of waiting is
// little beside a request.
const (
	firstWait = 50 * time.Microsecond
	longWait  = 2 * time.Millisecond
)

// lock takes the file's lock, for writing or shared with others. It tries again and again, because a thread that waits
// in flock can't be called back when ctx ends. Closing the file releases the lock, and so does the end of the process.
func (f file) lock(ctx context.Context, exclusive bool) error {
	for wait := firstWait; ; wait = min(2*wait, longWait) {
		if locked, err := f.tryLock(exclusive); err != nil {
			return fmt.Errorf("lock: %w", err)
		} else if locked {
			return nil
		}
		timer := time.NewTimer(wait/2 + time.Duration(time.Now().UnixNano())%wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return fmt.Errorf("wait for another writer: %w", ctx.Err())
		case <-timer.C:
		}
	}
}
