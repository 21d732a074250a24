package filestore

import (
	"context"
	"crypto/fips140"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/hipflask/session/internal/flasksession"
	"github.com/hipflask/session/store"
)

// FlaskOptions are the settings of a FlaskStore. The zero value is what Flask-Session and cachelib have.
type FlaskOptions struct {
	// KeyPrefix is SESSION_KEY_PREFIX. Empty: "session:".
	KeyPrefix string

	// NoKeyPrefix is for an application whose SESSION_KEY_PREFIX is empty.
	NoKeyPrefix bool

	// Mode is SESSION_FILE_MODE, cachelib's mode. Zero: 0600, for applications that run as one user.
	Mode fs.FileMode

	_ struct{} // no unkeyed literals: fields may be added
}

// FlaskStore is a [store.Store] over the files of a Flask application, which it may share while both run: those of
// Flask-Session's SESSION_TYPE "filesystem", or "cachelib" with a FileSystemCache. Use it with flask.SID (or SignedSID)
// as Config.IDFormat and flask.Pickle as Config.Serializer; it refuses to store what is no pickle.
//
// Go processes exclude each other by a lock, cachelib takes none: a change that a Flask process makes within the some
// ten microseconds between a comparison and a rename is lost, as are, whatever Go does, those between Flask's own read
// and write. A session that Flask deleted is never made again. docs/flask-session.md tells the rest.
//
// cachelib removes sessions that have not expired when it counts more than its threshold, 500 unless it is set. The
// store keeps that count right, evicts nothing itself, and is no Lister: cachelib's file names tell nothing about the
// session. Expiry is kept in seconds. Nothing is synced to the disk.
//
// It keeps files of its own in the folder, under names that cachelib passes over: locks, and for each session that was
// ended or renewed here a mark, for Config.Grace. Sweep removes marks and sessions that have expired; it looks at every
// file.
type FlaskStore struct {
	*flasksession.Store
	medium *flaskFiles
}

// FlaskSession opens the folder dir of a Flask application's session files, and makes it if it isn't there. Nil opts are
// the defaults. Close releases it.
func FlaskSession(dir string, opts *FlaskOptions) (*FlaskStore, error) {
	if opts == nil {
		opts = new(FlaskOptions)
	}
	if fips140.Enforced() {
		return nil, errors.New("filestore: cachelib names its files by MD5, which GODEBUG=fips140=only forbids; use another store")
	}
	if dir == "" {
		return nil, errors.New("filestore: the folder has no name: pass a path")
	}
	if opts.Mode&^fs.ModePerm != 0 {
		return nil, fmt.Errorf("filestore: FlaskOptions.Mode %v is more than permissions", opts.Mode)
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("filestore: folder: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("filestore: create folder %s: %w", dir, bare(err))
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("filestore: folder %s can't be opened: %w", dir, bare(err))
	}
	m := &flaskFiles{root: root, prefix: flasksession.DefaultPrefix, mode: privateMode, counts: make(chan struct{}, 1)}
	for i := range m.turns {
		m.turns[i] = make(chan struct{}, 1)
	}
	if opts.KeyPrefix != "" || opts.NoKeyPrefix {
		m.prefix = opts.KeyPrefix
	}
	if opts.Mode != 0 {
		m.mode = opts.Mode
	}
	return &FlaskStore{flasksession.New(m), m}, nil
}

// Close releases the folder. Closing twice is fine.
func (s *FlaskStore) Close() error { return bare(s.medium.root.Close()) }

// Sweep implements [store.Sweeper].
func (s *FlaskStore) Sweep(ctx context.Context, limit int) (removed int, err error) {
	return s.medium.sweep(ctx, limit)
}

var (
	_ store.Store   = (*FlaskStore)(nil)
	_ store.Sweeper = (*FlaskStore)(nil)
)

// Names of cachelib 0.15 (file.py). What ends in the suffix it takes for a file that is being written, and leaves alone.
const (
	cachelibSuffix = ".__wz_cache"
	flaskLock      = "hipflask.lock-%d" + cachelibSuffix
	markSuffix     = ".hipflask" + cachelibSuffix
	temporary      = "hipflask-" // and a random text, and the suffix
)

// countFile is hashed("__wz_cache_count"). It is not computed here: under GODEBUG=fips140=only MD5 panics, and a program
// that uses no Flask-Session has to start.
const countFile = "2029240f6d1128be89ddc32729463129"

// hashed is how cachelib makes a file's name of a key.
func hashed(key string) string {
	sum := md5.Sum([]byte(key))
	return hex.EncodeToString(sum[:])
}
