package filestore

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"time"
)

// This file keeps the queue: which record Sweep has to look at, and when.
//
// The queue is a folder of files, one for each span of time, to which writers append lines: a time and a record's name.
// Each record has one line that counts: the one for the time in its slot's field queued, which is not after its expiry.
// A Touch or a Replace that moves the expiry to later leaves the line alone. When the line is due, Sweep finds that the
// record is still there and queues it again. So a line costs one append when a record is made, and one look in a span
// or in the idle timeout. Other lines of a record, left by crashes and parallel Sweeps, don't match its slot and are
// dropped.
//
// The line is written before its record, never after. Lines get lost only if somebody removes a file of the queue or
// sets the clock back by a span at the wrong moment. Sweep finds such records by walking slowly through all.

// A span is 2^spanBits milliseconds, seventeen minutes. Shorter spans would have more files, of at least 4 KiB each.
const spanBits = 20

// horizon is the longest time that a line waits. Without it, the lines of sessions that were ended early would stay for
// as long as the sessions could have lasted. It also keeps the queue's files younger than files that cleaners remove.
const horizon = 48 * time.Hour / time.Millisecond

// A line is the time, the name, and a checksum: 8 + 20 + 4 bytes. A block is a multiple of 32, so a full disk never
// cuts a line in two.
const lineSize = 32

const nameBytes = nameLen * 5 / 8

type line struct {
	due  int64
	name name
}

func (l line) encode() (b [lineSize]byte) {
	le.PutUint64(b[:], uint64(l.due))
	names.Decode(b[8:8+nameBytes], l.name[:])
	le.PutUint32(b[8+nameBytes:], uint32(checksum(b[:8+nameBytes])))
	return b
}

func parseLine(b []byte) (l line, ok bool) {
	if uint32(checksum(b[:8+nameBytes])) != le.Uint32(b[8+nameBytes:]) {
		return l, false
	}
	l.due = int64(le.Uint64(b))
	names.Encode(l.name[:], b[8:8+nameBytes])
	return l, true
}

// A span is the start of a file of the queue, in units of its length.
type span int64

func spanAt(t int64) span        { return span(t >> spanBits) }
func (s span) start() int64      { return int64(s) << spanBits }
func (s span) past(t int64) bool { return s < spanAt(t) }

func (s span) path() string { return queueDir + "/" + strconv.FormatInt(int64(s), 10) }

func parseSpan(file string) (span, bool) {
	n, err := strconv.ParseInt(file, 10, 64)
	return span(n), err == nil && span(n).path() == queueDir+"/"+file
}

// enqueue makes Sweep look at the record called n when it expires, or at the horizon, and returns that time.
func (r *root) enqueue(n name, expires int64) (queued int64, err error) {
	t := now()
	queued = min(expires, t+int64(horizon))
	for {
		s := spanAt(max(queued, t))
		if err := r.append(s, line{queued, n}); err != nil {
			return 0, err
		}
		// Sweep removes a file when its span has ended. If the span hasn't ended now, after the line was written, Sweep
		// will see the line. Otherwise the line may have come too late.
		if t = now(); !s.past(t) {
			return queued, nil
		}
	}
}

// requeue is enqueue for the record in cur, if it will expire before its line is due.
func (r *root) requeue(n name, cur *slot, expires int64) (queued int64, err error) {
	if expires >= cur.queued {
		return cur.queued, nil
	}
	return r.enqueue(n, expires)
}

func (r *root) append(s span, l line) error {
	f, err := r.open(s.path(), modeAppend)
	if errors.Is(err, fs.ErrNotExist) {
		if err := r.mkdir(queueDir); errors.Is(err, fs.ErrNotExist) {
			return errAbsent
		} else if err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("make a folder: %w", err)
		}
		f, err = r.open(s.path(), modeAppend)
	}
	if err != nil {
		return fmt.Errorf("open the queue: %w", err)
	}
	defer f.close()
	b := l.encode()
	if err := f.append(b[:]); err != nil {
		return fmt.Errorf("write the queue: %w", err)
	}
	return nil
}

// readQueue reads lines of a file of the queue, from the given position on.
func (r *root) readQueue(s span, b []byte, pos int64) (int, error) {
	f, err := r.open(s.path(), modeRead)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil // removed by another process, which has handled all lines
	} else if err != nil {
		return 0, fmt.Errorf("open the queue: %w", err)
	}
	defer f.close()
	n, err := f.pread(b, pos)
	if err != nil {
		return 0, fmt.Errorf("read the queue: %w", err)
	}
	return n, nil
}
