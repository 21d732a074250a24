package filestore

import (
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/hipflask/session/store"
)

// The names in the folder.
const (
	sessionsDir   = "sessions"   // sessions/ab/cdef...: the records, one file each
	principalsDir = "principals" // principals/ab/cdefghij<name>: second links to the records that have a principal
	queueDir      = "expiry"     // expiry/<bucket>: the names of records, by the time when to look at them
	stampFile     = "listed"     // when sessions of a principal were listed last
	tryFile       = "try"        // what Open tries hard links with
)

// stamps is the number of times that the stamp file has room for.
const stamps = 1 << 16

// shards is the number of folders that the files are spread over: few enough to be cheap for a small site (4 KiB each
// on ext4), and enough to have a thousand files in each of a million.
const shards = 32 * 32

// nameLen is the length of a record's name: 160 bits of SHA-256 in base32. Lower case letters and digits are safe on
// every file system, case-insensitive ones too. 160 bits make a collision of two keys infeasible, and the key within
// the record would show it.
const nameLen = 32

var names = base32.NewEncoding(alphabet).WithPadding(base32.NoPadding)

const alphabet = "abcdefghijklmnopqrstuvwxyz234567"

// A name is the file name of a record.
type name [nameLen]byte

func nameOf(key string) name {
	var n name
	sum := sha256.Sum256([]byte(key))
	names.Encode(n[:], sum[:nameLen*5/8])
	return n
}

// parseName returns the name of the file called entry in a shard's folder. ok is false if the file is not ours.
func parseName(shard, entry string) (name, bool) {
	var n name
	if len(shard)+len(entry) != nameLen {
		return n, false
	}
	copy(n[copy(n[:], shard):], entry)
	for _, c := range n {
		if (c < 'a' || c > 'z') && (c < '2' || c > '7') {
			return n, false
		}
	}
	return n, true
}

// path returns the path of the record's file in the folder.
func (n name) path() string {
	return sessionsDir + "/" + string(n[:2]) + "/" + string(n[2:])
}

func shardName(i int) string {
	return string([]byte{alphabet[i/32%32], alphabet[i%32]})
}

// tagLen is the length of the tag of a principal, which stands before a record's name: 50 bits, of which the first two
// characters are the shard. If two principals share a tag, a listing reads the records of both, and compares the
// principal.
const tagLen = 10

type tag [tagLen]byte

func tagOf(principal string) (t tag, stamp int) {
	var buf [nameLen]byte
	sum := sha256.Sum256([]byte(principal))
	names.Encode(buf[:], sum[:nameLen*5/8])
	return tag(buf[:tagLen]), int(sum[30])<<8 | int(sum[31])
}

func (t tag) dir() string { return principalsDir + "/" + string(t[:2]) }

// entry returns the path of the second link to the record called n.
func (t tag) entry(n name) string {
	return t.dir() + "/" + string(t[2:]) + string(n[:])
}

// check refuses a key that breaks the contract of package store.
func check(key string) error {
	if len(key) == 0 || len(key) > store.MaxKey {
		return fmt.Errorf("filestore: a key has %d bytes, allowed are 1 to %d", len(key), store.MaxKey)
	}
	for i := range len(key) {
		if key[i] <= ' ' || key[i] > '~' {
			return errors.New("filestore: a key has bytes other than printable ASCII without spaces")
		}
	}
	return nil
}

// checkRecord refuses fields that are longer than the contract allows; the format has no room for them.
func checkRecord(rec *store.Record) error {
	if err := check(rec.Key); err != nil {
		return err
	}
	for _, f := range []struct {
		field     string
		size, max int
	}{
		{"Principal", len(rec.Principal), store.MaxPrincipal},
		{"Label", len(rec.Label), store.MaxLabel},
		{"Public", len(rec.Public), store.MaxPublic},
		{"MovedTo", len(rec.MovedTo), store.MaxKey},
		{"Handle", len(rec.Handle), store.MaxKey},
		{"Data", len(rec.Data), maxData},
	} {
		if f.size > f.max {
			return fmt.Errorf("filestore: a record's %s has %d bytes, allowed are %d", f.field, f.size, f.max)
		}
	}
	return nil
}

// bare strips what package os adds to an error: file names, which are made of keys.
func bare(err error) error {
	var path *fs.PathError
	var link *os.LinkError
	var call *os.SyscallError
	switch {
	case errors.As(err, &path):
		return path.Err
	case errors.As(err, &link):
		return link.Err
	case errors.As(err, &call):
		return call.Err
	}
	return err
}
