package flaskfiles

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"math"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/hipflask/session/flask/flasksession"
	"github.com/hipflask/session/store"
)

// files is cachelib's folder (cachelib/file.py): a file for each session, four bytes of expiry and a pickle.
//
// A reader reads the session first and its mark second; a writer writes the mark first and removes the session second.
// So no reader finds neither.
type files struct {
	root   *os.Root
	prefix string
	mode   fs.FileMode

	hash      Hash // DetectHash: by the count, or else otherwise
	otherwise Hash
	settled   atomic.Bool // the count of SHA-256 was there: no later cachelib goes back

	turns  [stripes]chan struct{} // held by the goroutine that has the lock of a stripe or waits for it
	counts chan struct{}          // the same for the lock of the count
}

func (m *files) Version(document []byte) uint64 { return flasksession.SHA256(document) }

const (
	expiryBytes = 4
	privateMode = 0o600
	stripes     = 16
)

var errNoPickle = errors.New("flaskfiles: cachelib's files hold pickles: set Config.Serializer to flask.Pickle")

func (m *files) name(key string) string { return m.named().hashed(m.prefix + key) }

// named returns the hash by which the Flask application names its files.
func (m *files) named() Hash {
	switch {
	case m.hash != DetectHash:
		return m.hash
	case m.settled.Load():
		return SHA256
	}
	for _, h := range []Hash{SHA256, MD5} {
		if _, err := m.root.Lstat(h.countFile()); err == nil {
			m.settled.Store(h == SHA256)
			return h
		}
	}
	return m.otherwise
}

// likely returns the hash that the names of the session files tell of: MD5 if there are only such.
func (m *files) likely() (Hash, error) {
	names, err := m.names()
	if err != nil {
		return 0, err
	}
	old := false
	for _, name := range names {
		if isSessionFile(name) {
			if len(name) == 2*sha256.Size {
				return SHA256, nil
			}
			old = true
		}
	}
	if old {
		return MD5, nil
	}
	return SHA256, nil
}

// read returns what a file holds; nil if it does not exist, has expired, or is too short.
func (m *files) read(name string) (*flasksession.Value, error) {
	b, err := m.root.ReadFile(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("flaskfiles: read a session's file: %w", bare(err))
	case len(b) < expiryBytes:
		return nil, nil // as for cachelib
	}
	seconds := binary.NativeEndian.Uint32(b)
	expires := time.Unix(int64(seconds), 0)
	if seconds == 0 {
		expires = time.Now().Add(never)
	}
	if time.Now().After(expires) {
		return nil, nil
	}
	return &flasksession.Value{Data: b[expiryBytes:], Expires: expires}, nil
}

// never is the remaining lifetime that is reported of a session without expiry.
const never = 50 * 365 * 24 * time.Hour

// stamp returns the expiry as cachelib stores it, rounded up: a session must not expire early.
func stamp(expires time.Time) []byte {
	seconds := expires.Add(time.Second - 1).Unix()
	seconds = min(max(seconds, 1), math.MaxUint32) // 0 would be never
	return binary.NativeEndian.AppendUint32(nil, uint32(seconds))
}

// write stores a file by renaming a temporary one.
func (m *files) write(name string, v flasksession.Value) error {
	return m.put(name, append(stamp(v.Expires), v.Data...))
}

func (m *files) put(name string, content []byte) error {
	tmp := temporary + rand.Text() + cachelibSuffix
	err := m.root.WriteFile(tmp, content, m.mode)
	if err == nil && m.mode != privateMode {
		err = m.root.Chmod(tmp, m.mode) // whatever the umask
	}
	if err == nil {
		err = m.root.Rename(tmp, name)
	}
	if err != nil {
		_ = m.root.Remove(tmp)
		return fmt.Errorf("flaskfiles: write a session's file: %w", bare(err))
	}
	return nil
}

// remove removes a file and says whether it was there.
func (m *files) remove(name string) (bool, error) {
	err := m.root.Remove(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("flaskfiles: remove a session's file: %w", bare(err))
	}
	return true, nil
}

// exclusively runs fn while no other Go process writes to the file of that name or to another of its stripe.
func (m *files) exclusively(ctx context.Context, name string, fn func() error) error {
	stripe := max(0, strings.IndexByte("0123456789abcdef", name[0]))
	return m.locked(ctx, m.turns[stripe], fmt.Sprintf(lockName, stripe), fn)
}

// locked runs fn while it holds a turn, among goroutines, and the lock of a file, among processes.
func (m *files) locked(ctx context.Context, turn chan struct{}, lockFile string, fn func() error) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("flaskfiles: %w", err)
	}
	select {
	case turn <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("flaskfiles: wait for another writer: %w", ctx.Err())
	}
	defer func() { <-turn }()
	f, err := m.root.OpenFile(lockFile, os.O_RDWR|os.O_CREATE, m.mode)
	if err != nil {
		return fmt.Errorf("flaskfiles: open the lock: %w", bare(err))
	}
	defer f.Close() // which releases the lock
	if err := lock(ctx, f); err != nil {
		return fmt.Errorf("flaskfiles: %w", err)
	}
	return fn()
}

func (m *files) Load(ctx context.Context, key string) (document, mark *flasksession.Value, err error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, fmt.Errorf("flaskfiles: load: %w", err)
	}
	if document, err = m.read(m.name(key)); err != nil {
		return nil, nil, err
	}
	mark, err = m.read(m.name(key) + markSuffix)
	return document, mark, err
}

func (m *files) Create(ctx context.Context, key string, v flasksession.Value) error {
	if !isPickle(v.Data) {
		return errNoPickle
	}
	return m.exclusively(ctx, m.name(key), func() error {
		document, mark, err := m.Load(ctx, key)
		if err != nil {
			return err
		}
		if document != nil || mark != nil {
			return store.ErrExists
		}
		_, statErr := m.root.Lstat(m.name(key)) // expired, but counted
		if err := m.write(m.name(key), v); err != nil {
			return err
		}
		if statErr != nil {
			m.count(ctx, 1)
		}
		return nil
	})
}

// isPickle rejects documents of another Serializer, in which Flask would find no session.
func isPickle(b []byte) bool { return len(b) > 2 && b[0] == 0x80 && bytes.HasSuffix(b, []byte{'.'}) }

// compare returns an error unless the document of the given version is there.
func (m *files) compare(ctx context.Context, key string, version uint64) error {
	document, _, err := m.Load(ctx, key)
	switch {
	case err != nil:
		return err
	case document == nil:
		return store.ErrNotFound
	case m.Version(document.Data) != version:
		return store.ErrConflict
	}
	return nil
}

func (m *files) Replace(ctx context.Context, key string, version uint64, v flasksession.Value) error {
	if !isPickle(v.Data) {
		return errNoPickle
	}
	return m.exclusively(ctx, m.name(key), func() error {
		if err := m.compare(ctx, key, version); err != nil {
			return err
		}
		return m.write(m.name(key), v)
	})
}

// Touch writes into the file that it has compared. If a Flask process renames another file over it, that one stays as
// it is.
func (m *files) Touch(ctx context.Context, key string, version uint64, expires time.Time) error {
	return m.exclusively(ctx, m.name(key), func() error {
		f, err := m.root.OpenFile(m.name(key), os.O_RDWR, 0)
		if errors.Is(err, fs.ErrNotExist) {
			return store.ErrNotFound
		}
		if err != nil {
			return fmt.Errorf("flaskfiles: open a session's file: %w", bare(err))
		}
		defer f.Close()
		if err := m.compare(ctx, key, version); err != nil {
			return err
		}
		b, err := io.ReadAll(f)
		if err != nil {
			return fmt.Errorf("flaskfiles: read a session's file: %w", bare(err))
		}
		if len(b) < expiryBytes || m.Version(b[expiryBytes:]) != version {
			return store.ErrConflict
		}
		if _, err := f.WriteAt(stamp(expires), 0); err != nil {
			return fmt.Errorf("flaskfiles: write a session's file: %w", bare(err))
		}
		return nil
	})
}

func (m *files) Retire(ctx context.Context, key string, version uint64, mark flasksession.Value) error {
	return m.exclusively(ctx, m.name(key), func() error {
		if err := m.compare(ctx, key, version); err != nil {
			return err
		}
		if err := m.write(m.name(key)+markSuffix, mark); err != nil {
			return err
		}
		return m.end(ctx, m.name(key))
	})
}

// end removes a session's file from the folder and from the count.
func (m *files) end(ctx context.Context, name string) error {
	removed, err := m.remove(name)
	if removed {
		m.count(ctx, -1)
	}
	return err
}

func (m *files) Mark(ctx context.Context, key string, mark flasksession.Value) error {
	return m.exclusively(ctx, m.name(key), func() error { return m.write(m.name(key)+markSuffix, mark) })
}

func (m *files) Delete(ctx context.Context, key string) error {
	return m.exclusively(ctx, m.name(key), func() error {
		if _, err := m.remove(m.name(key) + markSuffix); err != nil {
			return err
		}
		return m.end(ctx, m.name(key))
	})
}

// count adjusts cachelib's count of its files, by which cachelib decides when to remove sessions. Otherwise a folder in
// which Go ends sessions would seem to grow fuller, and cachelib would remove live ones. A failure to adjust it is no
// failure to write the session: cachelib counts again when a Flask process starts. Without a threshold there is no
// count.
func (m *files) count(ctx context.Context, delta int) {
	countFile := m.named().countFile()
	if _, err := m.root.Lstat(countFile); err != nil {
		return
	}
	_ = m.locked(ctx, m.counts, fmt.Sprintf(lockName, stripes), func() error {
		b, err := m.root.ReadFile(countFile)
		if err != nil || len(b) < expiryBytes {
			return err
		}
		n, ok := pickledInt(b[expiryBytes:])
		if !ok {
			return nil
		}
		const binInt = "\x80\x04J"
		b = append(b[:expiryBytes:expiryBytes], binInt...)
		b = binary.LittleEndian.AppendUint32(b, uint32(max(n+delta, 0)))
		return m.put(countFile, append(b, '.'))
	})
}

// pickledInt reads an int as pickle writes one of up to 31 bits (Lib/pickletools.py): PROTO, perhaps a FRAME, and one
// of BININT1, BININT2 and BININT.
func pickledInt(b []byte) (int, bool) {
	if len(b) > 2 && b[0] == 0x80 {
		b = b[2:]
	}
	if len(b) > 9 && b[0] == 0x95 {
		b = b[9:]
	}
	switch {
	case len(b) == 3 && b[0] == 'K':
		return int(b[1]), b[2] == '.'
	case len(b) == 4 && b[0] == 'M':
		return int(binary.LittleEndian.Uint16(b[1:])), b[3] == '.'
	case len(b) == 6 && b[0] == 'J':
		return int(int32(binary.LittleEndian.Uint32(b[1:]))), b[5] == '.'
	}
	return 0, false
}

// names returns the names of the folder's files.
func (m *files) names() ([]string, error) {
	d, err := m.root.Open(".")
	if err != nil {
		return nil, fmt.Errorf("flaskfiles: read the folder: %w", bare(err))
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if err != nil {
		return nil, fmt.Errorf("flaskfiles: read the folder: %w", bare(err))
	}
	return names, nil
}

func isSessionFile(name string) bool {
	return (len(name) == 2*md5.Size || len(name) == 2*sha256.Size) && name != MD5.countFile() &&
		name != SHA256.countFile() &&
		strings.Trim(name, "0123456789abcdef") == ""
}

// All yields the sessions, without their keys: a hash is all that the folder has of them.
func (m *files) All(ctx context.Context) iter.Seq2[flasksession.Entry, error] {
	return func(yield func(flasksession.Entry, error) bool) {
		names, err := m.names()
		for _, name := range names {
			if !isSessionFile(name) {
				continue
			}
			if err = ctx.Err(); err != nil {
				break
			}
			var v, mark *flasksession.Value
			if v, err = m.read(name); err == nil && v != nil {
				mark, err = m.read(name + markSuffix)
			}
			if err != nil {
				break
			}
			if v != nil && mark == nil && !yield(flasksession.Entry{Value: *v}, nil) {
				return
			}
		}
		if err != nil {
			yield(flasksession.Entry{}, err)
		}
	}
}

// leftOver is the age at which a temporary file was left by a process that died.
const leftOver = time.Hour

func (m *files) sweep(ctx context.Context, limit int) (removed int, err error) {
	names, err := m.names()
	if err != nil {
		return 0, err
	}
	for i := 0; i <= len(names) && removed < limit; i++ {
		if err := ctx.Err(); err != nil { // also where nothing is left
			return removed, fmt.Errorf("flaskfiles: sweep: %w", err)
		}
		if i == len(names) || !m.isOver(names[i]) {
			continue
		}
		name := names[i]
		err := m.exclusively(ctx, name, func() error {
			if !m.isOver(name) { // a session may have been renewed meanwhile
				return nil
			}
			gone, err := m.remove(name)
			if gone {
				removed++
			}
			if gone && isSessionFile(name) {
				m.count(ctx, -1)
			}
			return err
		})
		if err != nil {
			return removed, err
		}
	}
	return removed, nil
}

// isOver tells whether a file is an expired session or mark, or the temporary file of a process that died.
func (m *files) isOver(name string) bool {
	if strings.HasPrefix(name, temporary) {
		info, err := m.root.Lstat(name)
		return err == nil && time.Since(info.ModTime()) > leftOver
	}
	if !isSessionFile(strings.TrimSuffix(name, markSuffix)) {
		return false
	}
	f, err := m.root.Open(name)
	if err != nil {
		return false
	}
	defer f.Close()
	var b [expiryBytes]byte
	if _, err := io.ReadFull(f, b[:]); err != nil {
		return false
	}
	seconds := binary.NativeEndian.Uint32(b[:])
	return seconds != 0 && time.Now().After(time.Unix(int64(seconds), 0))
}
