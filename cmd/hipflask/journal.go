package main

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/hipflask/session/store"
)

// journal remembers on disk which sessions were copied, and how they looked then on both sides. It tells a session that
// is not there yet from one that was copied and has ended since, which must not come back; a copy from one with a life
// of its own; and a run that is taken up again what it has behind it.
//
// An entry is written before a session is, with what it is going to be, and after it. So a run that is killed in
// between leaves no copy that the next one takes for somebody else's. It holds hashes only.
type journal struct {
	mu      sync.Mutex
	file    *os.File
	buffer  []byte
	entries map[uint64]entry
	err     error
}

// entry is what is remembered of a session.
type entry struct {
	from, to uint32 // digests of the record on both sides after it was copied
	next     uint32 // digest of what was going to be written to TO, if it is not known whether it was
	expires  uint32 // when the copy would expire, in seconds
}

// wrote tells whether it was this migration that made the record what it is.
func (e entry) wrote(to store.Record) bool {
	d := digest(to)
	return d == e.to && e.expiring(to) || d == e.next
}

// read tells whether the record is in FROM what it was when it was copied.
func (e entry) read(from store.Record) bool { return e.from == digest(from) && e.expiring(from) }

// expiring compares the ends of sessions in a foreign layout, which tells the time left, and so never quite the same
// end.
func (e entry) expiring(r store.Record) bool {
	late := r.ExpiresAt.Unix() - int64(e.expires)
	return !r.LastSeenAt.IsZero() || -2 <= late && late <= 2
}

const entrySize = 8 + 4*4

func journalHead(from, to string) string {
	return fmt.Sprintf("hipflask migrate 1\n%s\n%s\n", from, to)
}

// journalPath is where the journal of two stores is unless the user says otherwise.
func journalPath(from, to string) (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", usage("where shall the journal be? --journal FILE (%v)", err)
	}
	sum := sha256.Sum256([]byte(journalHead(from, to)))
	return filepath.Join(dir, "hipflask", fmt.Sprintf("migrate-%x.journal", sum[:6])), nil
}

// openJournal reads the journal at path, or begins one. With dry nothing is written.
func openJournal(path, from, to string, dry bool) (*journal, error) {
	j := &journal{entries: map[uint64]entry{}}
	head := journalHead(from, to)
	switch err := j.read(path, head); {
	case errors.Is(err, fs.ErrNotExist) && dry:
		return j, nil
	case errors.Is(err, fs.ErrNotExist):
		j.buffer = []byte(head)
	case err != nil:
		return nil, err
	}
	if dry {
		return j, nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("can't keep the journal: %w", err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("can't keep the journal: %w", err)
	}
	j.file = f
	return j, j.flush()
}

// read takes the entries of a file. Half an entry at its end, of a run that was killed, is cut off.
func (j *journal) read(path, head string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	r := bufio.NewReaderSize(f, 1<<16)
	got := make([]byte, len(head))
	if _, err := io.ReadFull(r, got); err != nil || string(got) != head {
		return fmt.Errorf("%s is the journal of another migration; name another file with --journal", path)
	}
	size := int64(len(head))
	var b [entrySize]byte
	for {
		_, err := io.ReadFull(r, b[:])
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return os.Truncate(path, size)
		} else if err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		size += entrySize
		at := func(i int) uint32 { return binary.LittleEndian.Uint32(b[i:]) }
		j.entries[binary.LittleEndian.Uint64(b[:])] = entry{at(8), at(12), at(16), at(20)}
	}
}

func journalKey(key string) uint64 {
	sum := sha256.Sum256([]byte(key))
	return binary.LittleEndian.Uint64(sum[:])
}

func (j *journal) get(key string) (entry, bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	e, ok := j.entries[journalKey(key)]
	return e, ok
}

// intend writes down what is going to be written to TO, and waits until the file has it.
func (j *journal) intend(key string, to store.Record) error {
	e, _ := j.get(key)
	e.next = digest(to)
	j.set(key, e)
	return j.flush()
}

// put writes down what both sides have now.
func (j *journal) put(key string, from, to store.Record) {
	j.set(key, entry{from: digest(from), to: digest(to), expires: uint32(to.ExpiresAt.Unix())})
}

func (j *journal) set(key string, e entry) {
	k := journalKey(key)
	j.mu.Lock()
	defer j.mu.Unlock()
	j.entries[k] = e
	j.buffer = binary.LittleEndian.AppendUint64(j.buffer, k)
	for _, n := range []uint32{e.from, e.to, e.next, e.expires} {
		j.buffer = binary.LittleEndian.AppendUint32(j.buffer, n)
	}
}

// flush writes whole entries: what a kill leaves is a beginning of them.
func (j *journal) flush() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.file != nil && len(j.buffer) > 0 && j.err == nil {
		_, j.err = j.file.Write(j.buffer)
		j.buffer = j.buffer[:0]
	}
	return j.err
}

func (j *journal) close() error {
	err := j.flush()
	if j.file != nil {
		err = errors.Join(err, j.file.Close())
	}
	return err
}

// keep flushes from time to time until stop is closed.
func (j *journal) keep(stop <-chan struct{}) {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
			j.flush()
		}
	}
}

// digest changes with every change and every touch of a record. It is never 0.
func digest(r store.Record) uint32 {
	var b bytes.Buffer
	times := []int64{0, 0}
	if !r.LastSeenAt.IsZero() {
		times = []int64{r.LastSeenAt.UnixMilli(), r.ExpiresAt.UnixMilli()}
	}
	for _, n := range append(times, int64(r.Version), int64(r.Kind)) {
		binary.Write(&b, binary.LittleEndian, n)
	}
	sum := sha256.Sum256(b.Bytes())
	return binary.LittleEndian.Uint32(sum[:]) | 1
}
