// Package filestore keeps sessions in files: the store that a program has when it names no other.
//
//	s, err := filestore.Open("/var/lib/shop/sessions", nil)
//	if err != nil {
//		log.Fatal(err)
//	}
//	defer s.Close()
//
// Each record is one file in a private folder of the local machine. Goroutines, several Stores and several processes of
// one user may use one folder at the same time. The source explains why that is safe: file.go for records, index.go for
// principals, queue.go for expiry.
//
// # The folder
//
// The folder belongs to the user that runs the program, and nobody else may enter it. [Open] creates it with mode 0700,
// and gives an empty folder of another mode that mode. Open refuses a folder that is a symbolic link, belongs to
// another user, or has files in it and is open to group or others. File names are hashes, so no key can name a path. On
// Windows a folder has the access rights of its parent: choose a folder inside the user's profile.
//
// If the folder is renamed, removed or unmounted while a Store has it open, every call fails until the folder is back
// at its path. The Store doesn't make a new one: an empty folder would turn all users into strangers. Open writes an ID
// into the folder, by which the Store knows a folder that comes back as a copy or on another device. To begin with no
// sessions, open the Store again.
//
// A file that this process may not read or write is an error as well, never an absent record. So a changed mode, owner,
// access list or attribute of a file logs nobody out.
//
// Choose a folder on a local disk or in memory. On network file systems (NFS, SMB) a Load without a lock can return
// what another machine has already changed; use a server (Redis, SQL) where one machine is not enough. The file system
// needs hard links and flock; Open tries both.
//
// Temporary folders have their own rules. /tmp is often in memory and empty after a restart. A systemd service with
// PrivateTmp, and every container, has a /tmp of its own that lives as long as it does. Cleaners remove what was not
// used for some days: systemd-tmpfiles leaves the folder alone while a Store has it open, since that holds a lock on it
// (systemd.io/TEMPORARY_DIRECTORIES); others may end sessions that were not used for as long as they allow.
//
// # What survives
//
// A write that has returned survives the end of the process, SIGKILL included. A write that was cut short leaves the
// record as it was. With [Options].Sync both hold for power loss too, at the price of a wait for the disk in each
// write. Without Sync a power loss undoes the last seconds of writes, as far as the file system had not stored them. A
// session that was logged out in those seconds may be back.
//
// A file that holds no valid record (cut off, overwritten, or with a wrong name) counts as absent: Load does not find
// it, Create replaces it, Sweep removes it.
//
// # Expiry
//
// A record expires when the wall clock of the machine reaches ExpiresAt, to the millisecond. Sweep removes expired
// records at a cost proportional to their number. Each call also looks at a thousandth of all files, to find records
// that its queue has lost. When no expired record is left, Sweep removes the folders that have become empty.
//
// # Principals
//
// A record with a principal has a second name (a hard link) in a folder of principals. If the link is lost, the next
// Load restores it, unless the principal's sessions were listed in the meantime, perhaps to end them all. Then the
// record counts as absent.
package filestore

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hipflask/session/store"
)

// Options are the settings of a Store. The zero value is the default.
type Options struct {
	// Sync makes every write wait until the disk has it, so that answered writes survive the loss of power as well
	// as the end of the process. Default: false. It costs a flush of the disk in each write (about a millisecond on an
	// SSD, ten on a spinning disk).
	Sync bool

	_ struct{} // no unkeyed literals: fields may be added
}

// Store keeps records in a folder. It implements [store.Store], [store.Lister] and [store.Sweeper]. Its methods are
// safe for concurrent use. Make one with [Open].
type Store struct {
	dir  string
	sync bool

	mu     sync.RWMutex // held for reading by each step that uses root
	root   *root        // nil after Close
	closed atomic.Bool

	sweep sweeper
}

var (
	_ store.Store   = (*Store)(nil)
	_ store.Lister  = (*Store)(nil)
	_ store.Sweeper = (*Store)(nil)
)

var errClosed = errors.New("filestore: the store is closed")

// Open returns a Store of the records in the folder dir, which it creates, with its parents, if it isn't there. An
// empty folder of this user, such as testing.T.TempDir makes, gets mode 0700. Nil opts are the defaults. The error says
// what is wrong with the folder and what helps. The Store starts no goroutine; Close releases the folder.
func Open(dir string, opts *Options) (*Store, error) {
	if dir == "" {
		return nil, errors.New("filestore: the folder has no name: pass a path")
	}
	if opts == nil {
		opts = new(Options)
	}
	// Later changes of the working directory must not move the store.
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("filestore: folder: %w", err)
	}
	r, err := prepare(dir)
	if err != nil {
		return nil, err
	}
	s := &Store{dir: dir, sync: opts.Sync, root: r}
	s.sweep.init()
	return s, nil
}

// prepare opens the folder dir for a Store: creates it if necessary, checks that it is private, and tries what the
// store needs of its file system.
func prepare(dir string) (*root, error) {
	r, err := openRoot(dir)
	if errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("filestore: create folder %s: %w", dir, bare(err))
		}
		r, err = openRoot(dir)
	}
	if err == nil {
		if err = r.claim(); err != nil {
			r.close()
		}
	}
	if err != nil {
		return nil, fmt.Errorf("filestore: folder %s %w", dir, err)
	}
	r.keep()
	for _, sub := range []string{sessionsDir, principalsDir, queueDir} {
		if err = r.mkdir(sub); err != nil && !errors.Is(err, fs.ErrExist) {
			r.close()
			return nil, fmt.Errorf("filestore: create a folder in %s: %w", dir, err)
		}
	}
	if err := r.try(); err != nil {
		r.close()
		return nil, fmt.Errorf("filestore: folder %s: %w", dir, err)
	}
	return r, nil
}

// try checks the two things that the store needs of the file system: hard links that are counted, and locks that
// exclude another opening of the file.
func (r *root) try() error {
	f, err := r.open(stampFile, modeCreate)
	if err != nil {
		return fmt.Errorf("create a file: %w", err)
	}
	defer f.close()
	ctx, cancel := context.WithTimeout(context.Background(), tryPatience)
	defer cancel()
	if err := f.lock(ctx, true); err != nil {
		return err
	}
	g, err := r.open(stampFile, modeWrite)
	if err != nil {
		return fmt.Errorf("open a file: %w", err)
	}
	defer g.close()
	if locked, err := g.tryLock(true); err != nil {
		return fmt.Errorf("lock: %w", err)
	} else if locked {
		return errors.New("file locks do not exclude each other there: choose a folder on a local disk")
	}
	if err := r.link(stampFile, tryFile); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("make a hard link: %w; choose a folder on a local disk", err)
	}
	links, err := f.links()
	if err != nil {
		return err
	}
	if links < 2 {
		return errors.New("hard links are not counted there: choose a folder on a local disk")
	}
	if err := r.removeQuietly(tryFile); err != nil {
		return err
	}
	r.id, err = f.ensureID()
	return err
}

// tryPatience is how long Open waits for another Open, or for a process that was stopped in a listing.
const tryPatience = 5 * time.Second

// Close releases the folder. It waits for calls in flight; later calls fail. It may be called again. The error is
// always nil.
func (s *Store) Close() error {
	s.closed.Store(true)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.root != nil {
		s.root.close()
		s.root = nil
	}
	return nil
}

// errAbsent says that there is no file under a name, and no other error happened.
var errAbsent = errors.New("no such file")

// run calls fn with the folder. It returns an error of package store, errAbsent, or a complete one, which names the
// step and the folder.
//
// A Store never takes another folder for its own, since in an empty one every user would be a stranger. If the path no
// longer leads to the folder, fn isn't called. And errAbsent means that the folder of sessions was still there after fn
// had not found a file in it.
func (s *Store) run(ctx context.Context, step string, fn func(*root) error) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("filestore: %s: %w", step, err)
	}
	err := s.enter(fn)
	switch {
	case err == nil, errors.Is(err, store.ErrNotFound), err == store.ErrExists, err == store.ErrConflict,
		err == errClosed, err == errAbsent:
		return err
	}
	return fmt.Errorf("filestore: %s in %s: %w", step, s.dir, err)
}

func (s *Store) enter(fn func(*root) error) error {
	if s.closed.Load() { // doesn't wait for Close, which waits for other calls
		return errClosed
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.root != nil && !s.root.at(s.dir) {
		s.mu.RUnlock()
		err := s.reopen()
		s.mu.RLock()
		if err != nil {
			return err
		}
	}
	if s.root == nil {
		return errClosed
	}
	err := fn(s.root)
	if err == errAbsent && !(s.root.exists(sessionsDir) && s.root.at(s.dir)) {
		return errGone
	}
	return err
}

var errGone = errors.New("the folder was moved, removed or unmounted while in use: " +
	"sessions are served again when it is back; to begin with none, restart the program")

// reopen opens the folder again if it was mounted again on another device, or restored from a backup. The folder's ID
// distinguishes it from an empty folder, and from one that another user has put in its place.
func (s *Store) reopen() error {
	r, err := openRoot(s.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return errGone
	} else if err == nil {
		if err = r.private(); err != nil {
			r.close()
		}
	}
	if err != nil {
		return fmt.Errorf("the folder was replaced while in use: it %w", err)
	}
	id, err := r.readID()
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil || s.root == nil || id != s.root.id {
		r.close()
		return cmp.Or(err, errGone)
	}
	s.root.close()
	r.id = id
	r.keep()
	s.root = r
	return nil
}

// readID returns the ID of the folder, "" if it has none.
func (r *root) readID() (string, error) {
	f, err := r.open(stampFile, modeRead)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	} else if err != nil {
		return "", fmt.Errorf("open the folder's ID: %w", err)
	}
	defer f.close()
	return f.readID()
}

const (
	idLen = 26 // of rand.Text
	idAt  = stamps * 8
)

func (f file) readID() (string, error) {
	var b [idLen]byte
	n, err := f.pread(b[:], idAt)
	if err != nil {
		return "", fmt.Errorf("read the folder's ID: %w", err)
	}
	if n < idLen || b[0] == 0 {
		return "", nil
	}
	return string(b[:]), nil
}

// ensureID returns the folder's ID from the stamp file, whose lock the caller has, and makes one if there is none.
func (f file) ensureID() (string, error) {
	id, err := f.readID()
	if id != "" || err != nil {
		return id, err
	}
	id = rand.Text()
	if err := f.pwrite([]byte(id), idAt); err != nil {
		return "", fmt.Errorf("write the folder's ID: %w", err)
	}
	return id, nil
}
