// Package flaskfiles shares the session files of a Flask application while both run: those of Flask-Session's
// SESSION_TYPE "filesystem", or "cachelib" with a FileSystemCache.
//
//	st, err := flaskfiles.Open("/var/lib/shop/flask_session", nil)
//	if err != nil {
//		log.Fatal(err)
//	}
//	defer st.Close()
//	sessions, err := session.New(session.Config{
//		SecretKey:  os.Getenv("SECRET_KEY"), // the Flask application's
//		Store:      st,
//		IDFormat:   flask.SID, // or SignedSID
//		Serializer: flask.Pickle,
//		Cookie:     session.Cookie{Name: "session", Persistent: true},
//	})
//
// The store rejects documents that are no pickles.
//
// # What is promised
//
// Go processes exclude each other by a lock; cachelib takes none. So a change is lost that a Flask process makes within
// the roughly ten microseconds between a comparison and a rename, as are, whatever Go does, changes between Flask's own
// read and write. A session that Flask deleted is never created again. docs/flask-session.md in the repository has the
// details.
//
// cachelib removes sessions that have not expired when it counts more of them than its threshold, 500 by default. The
// store keeps that count correct and evicts nothing itself. Expiry is kept in seconds. Nothing is synced to the disk.
//
// # The folder
//
// The store keeps files of its own in the folder, under names that cachelib passes over: locks, and for each session
// that was ended or renewed here a mark, for Config.Grace. Sweep removes marks and sessions that have expired; it reads
// every file. A Store is no store.Lister: cachelib's file names tell nothing about the session.
package flaskfiles

import (
	"context"
	"crypto/fips140"
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/hipflask/session/flask/flasksession"
	"github.com/hipflask/session/store"
)

// Options are the settings of a Store. The zero value has the defaults of Flask-Session and cachelib.
type Options struct {
	// KeyPrefix is SESSION_KEY_PREFIX. Default: "session:".
	KeyPrefix string

	// NoKeyPrefix is for an application whose SESSION_KEY_PREFIX is empty.
	NoKeyPrefix bool

	// Mode is SESSION_FILE_MODE, cachelib's mode: permission bits alone. Default: 0600, for applications that run as
	// one user.
	Mode fs.FileMode

	// Hash is how cachelib makes the names of its files, its hash_method. Default: DetectHash.
	Hash Hash

	_ struct{} // no unkeyed literals: fields may be added
}

// Hash is how cachelib makes a file's name of a key.
type Hash uint8

const (
	// DetectHash asks the name of the file in which cachelib keeps its count, at each access: of two, that of SHA-256
	// counts. Without one (cachelib has not run yet, or its threshold is 0) the names of the files tell when the Store
	// is opened, and of an empty folder it is SHA256.
	DetectHash Hash = iota
	MD5             // cachelib 0.15 and older
	SHA256          // cachelib 0.16 and newer
)

// Store is a [store.Store] and a [store.Sweeper] over the files. Its methods are safe for concurrent use. Make one with
// [Open].
type Store struct {
	engine
	files *files
}

// engine has the methods of package store, which say there what they do; the field's name is hidden, they are not.
type engine = *flasksession.Store

// Open opens the folder dir of a Flask application's session files, and creates it if it doesn't exist. Nil opts are
// the defaults. Under GODEBUG=fips140=only, which forbids MD5, Open fails unless Options.Hash is SHA256. Close releases
// the folder.
func Open(dir string, opts *Options) (*Store, error) {
	if opts == nil {
		opts = new(Options)
	}
	if fips140.Enforced() && opts.Hash != SHA256 {
		return nil, errors.New("flaskfiles: cachelib before 0.16 names its files by MD5, which GODEBUG=fips140=only " +
			"forbids; set Options.Hash to flaskfiles.SHA256 for a newer one")
	}
	if opts.Hash > SHA256 {
		return nil, fmt.Errorf("flaskfiles: Options.Hash %d is none of DetectHash, MD5 and SHA256", opts.Hash)
	}
	if dir == "" {
		return nil, errors.New("flaskfiles: the folder has no name: pass a path")
	}
	if opts.Mode&^fs.ModePerm != 0 {
		return nil, fmt.Errorf("flaskfiles: Options.Mode %v is more than permissions", opts.Mode)
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("flaskfiles: folder: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("flaskfiles: create folder %s: %w", dir, bare(err))
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("flaskfiles: folder %s can't be opened: %w", dir, bare(err))
	}
	m := &files{
		root: root, prefix: flasksession.Prefix(opts.KeyPrefix, opts.NoKeyPrefix), mode: privateMode,
		counts: make(chan struct{}, 1),
	}
	for i := range m.turns {
		m.turns[i] = make(chan struct{}, 1)
	}
	if opts.Mode != 0 {
		m.mode = opts.Mode
	}
	if m.hash = opts.Hash; m.hash == DetectHash {
		if m.otherwise, err = m.likely(); err != nil {
			return nil, errors.Join(err, root.Close())
		}
	}
	return &Store{flasksession.New(m), m}, nil
}

// Close releases the folder. It may be called again.
func (s *Store) Close() error { return bare(s.files.root.Close()) }

// Sweep implements [store.Sweeper].
func (s *Store) Sweep(ctx context.Context, limit int) (removed int, err error) {
	return s.files.sweep(ctx, limit)
}

var (
	_ store.Store   = (*Store)(nil)
	_ store.Sweeper = (*Store)(nil)
)

// Names of cachelib 0.15 to 0.17 (file.py). It takes a name with the suffix for a file that is being written, and
// passes over it.
const (
	cachelibSuffix = ".__wz_cache"
	lockName       = "hipflask.lock-%d" + cachelibSuffix
	markSuffix     = ".hipflask" + cachelibSuffix
	temporary      = "hipflask-" // a random text and the suffix follow
)

// countFile is hashed("__wz_cache_count"). It is not computed, since MD5 panics under GODEBUG=fips140=only, and a
// program that only imports this package has to start.
func (h Hash) countFile() string {
	if h == MD5 {
		return "2029240f6d1128be89ddc32729463129"
	}
	return "79bc207ee04a581ab2348ca1f3494e64cd0ec36128735b8c6bc85ddd8fe1938c"
}

// hashed returns the name of the file in which cachelib stores a key.
func (h Hash) hashed(key string) string {
	if h == MD5 {
		sum := md5.Sum([]byte(key))
		return hex.EncodeToString(sum[:])
	}
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:])
}

// bare returns an error of package os without the file's name, which is made of a session's ID.
func bare(err error) error {
	var path *fs.PathError
	var link *os.LinkError
	switch {
	case errors.As(err, &path):
		return path.Err
	case errors.As(err, &link):
		return link.Err
	}
	return err
}
