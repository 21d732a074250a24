package flaskfiles_test

import (
	"crypto/md5"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hipflask/session/flask"
	"github.com/hipflask/session/flask/flaskfiles"
	"github.com/hipflask/session/flask/flasksession/layouttest"
	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/storetest"
)

func open(tb testing.TB, dir string, opts *flaskfiles.Options) *flaskfiles.Store {
	tb.Helper()
	s, err := flaskfiles.Open(dir, opts)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { s.Close() })
	return s
}

func TestConformance(t *testing.T) {
	t.Parallel()
	dir := inMemory(t)
	pickle := func(b []byte) []byte { return append(append([]byte("\x80\x04"), b...), '.') }
	layouttest.Run(t, func(tb testing.TB) store.Store { return open(tb, dir, nil) }, pickle,
		func(b []byte) []byte { return b[2 : len(b)-1] }, storetest.CoarseExpiry(1100*time.Millisecond),
		storetest.Except("SweepCostIgnoresTheLiving",
			"cachelib's folder has no index by time: Sweep looks at every file"))
}

// inMemory returns a folder that is in memory, where the system has such: each write renames a new file over the old
// one, which on a disk waits for that (ext4's auto_da_alloc), and nothing in the suite is about the disk.
func inMemory(t *testing.T) string {
	dir, err := os.MkdirTemp("/dev/shm", "hipflask-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// cachelib does what cachelib/file.py does.
type cachelib struct {
	dir  string
	hash flaskfiles.Hash
}

func (c cachelib) path(key string) string {
	name := fmt.Sprintf("%x", sha256.Sum256([]byte("session:"+key)))
	if c.hash == flaskfiles.MD5 {
		name = fmt.Sprintf("%x", md5.Sum([]byte("session:"+key)))
	}
	return filepath.Join(c.dir, name)
}

func (c cachelib) set(key string, document []byte, life time.Duration) {
	tmp := filepath.Join(c.dir, "tmp"+key+".__wz_cache")
	content := binary.NativeEndian.AppendUint32(nil, uint32(time.Now().Add(life).Unix()))
	if err := os.WriteFile(tmp, append(content, document...), 0o600); err != nil {
		panic(err)
	}
	if err := os.Rename(tmp, c.path(key)); err != nil {
		panic(err)
	}
}

func (c cachelib) get(key string) ([]byte, time.Duration, bool) {
	b, err := os.ReadFile(c.path(key))
	if err != nil || len(b) < 4 {
		return nil, 0, false
	}
	left := time.Until(time.Unix(int64(binary.NativeEndian.Uint32(b)), 0))
	return b[4:], left, left >= 0
}

func (c cachelib) delete(key string) { os.Remove(c.path(key)) }

func TestShared(t *testing.T) {
	t.Parallel()
	for version, hash := range map[string]flaskfiles.Hash{"cachelib 0.15": flaskfiles.MD5,
		"cachelib 0.16": flaskfiles.SHA256} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			c := cachelib{dir, hash}
			c.begin()
			layouttest.Shared(t, func(tb testing.TB) layouttest.Backend {
				return layouttest.Backend{Store: open(tb, dir, nil), Serializer: flask.Pickle, Set: c.set,
					Get: c.get, Delete: c.delete}
			})
		})
	}
}

// The names of cachelib's file for its count, made by cachelib 0.15.4 and 0.17.0.
const (
	oldCount = "2029240f6d1128be89ddc32729463129"
	newCount = "79bc207ee04a581ab2348ca1f3494e64cd0ec36128735b8c6bc85ddd8fe1938c"
)

// begin makes the count, as a Flask process does that starts.
func (c cachelib) begin() {
	name := newCount
	if c.hash == flaskfiles.MD5 {
		name = oldCount
	}
	if err := os.WriteFile(filepath.Join(c.dir, name), []byte("\x00\x00\x00\x00\x80\x05K\x00."), 0o600); err != nil {
		panic(err)
	}
}

// TestDetectHash: what names cachelib gives its files is seen as soon as it is there.
func TestDetectHash(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	old, now := cachelib{dir, flaskfiles.MD5}, cachelib{dir, flaskfiles.SHA256}
	s := open(t, dir, nil)
	wants := func(when string, s *flaskfiles.Store, c cachelib) {
		t.Helper()
		when = strings.ReplaceAll(when, " ", "-")
		if err := s.Create(t.Context(), record("key"+when)); err != nil {
			t.Fatal(err)
		}
		if _, _, ok := c.get("key" + when); !ok {
			t.Errorf("%s: cachelib doesn't find the session", when)
		}
		c.set("other"+when, []byte("\x80\x04}."), time.Hour)
		if _, err := s.Load(t.Context(), "other"+when); err != nil {
			t.Errorf("%s: a session of cachelib: %v", when, err)
		}
	}
	wants("empty", s, now)
	old.begin()
	wants("cachelib 0.15", s, old)
	now.begin()
	wants("upgraded", s, now)
	wants("upgraded before", open(t, dir, nil), now)
	wants("by option", open(t, dir, &flaskfiles.Options{Hash: flaskfiles.MD5}), old)

	dir = t.TempDir() // threshold 0: no count
	old.dir, now.dir = dir, dir
	old.set("one", []byte("\x80\x04}."), time.Hour)
	wants("old names", open(t, dir, nil), old)
	now.set("two", []byte("\x80\x04}."), time.Hour)
	wants("both names", open(t, dir, nil), now)
	if _, err := flaskfiles.Open(dir, &flaskfiles.Options{Hash: 3}); err == nil {
		t.Error("an unknown hash is no error")
	}
}

func record(key string) store.Record {
	return store.Record{Key: key, Version: 1, ExpiresAt: time.Now().Add(time.Hour), Data: []byte("\x80\x04}.")}
}

// TestNames: the names of "session:abc" were made by cachelib 0.15.4 and 0.17.0, of SESSION_KEY_PREFIX and the ID.
func TestNames(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		opts flaskfiles.Options
		key  string
		want string
	}{
		{flaskfiles.Options{Hash: flaskfiles.MD5}, "abc", "32607b0dcb9d5a58fbe913b473137833"},
		{flaskfiles.Options{}, "abc", "a29d803b477eb42083ebd25596356c45c98474d5c0dacb79829833ca2176e85b"},
		{flaskfiles.Options{Hash: flaskfiles.MD5, KeyPrefix: "shop:"},
			"abc", fmt.Sprintf("%x", md5.Sum([]byte("shop:abc")))},
		{flaskfiles.Options{Hash: flaskfiles.MD5, NoKeyPrefix: true, Mode: 0o640},
			"abc", fmt.Sprintf("%x", md5.Sum([]byte("abc")))},
	} {
		dir := t.TempDir()
		s := open(t, dir, &test.opts)
		if err := s.Create(t.Context(), record(test.key)); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(filepath.Join(dir, test.want))
		if err != nil {
			t.Fatal(err)
		}
		if want := max(test.opts.Mode, 0o600); info.Mode().Perm() != want {
			t.Errorf("got mode %v, want %v", info.Mode(), want)
		}
	}
}

// TestRefusesOtherForms: with another Serializer Flask would find no sessions.
func TestRefusesOtherForms(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir(), nil)
	for _, data := range []string{"", "{}", "\x80", `{"a":1}`, "\x81\xa1a\x01"} {
		rec := record("abc")
		rec.Data = []byte(data)
		if err := s.Create(t.Context(), rec); err == nil || !strings.Contains(err.Error(), "flask.Pickle") {
			t.Errorf("%q: got %v, want an error that names flask.Pickle", data, err)
		}
	}
}

// TestCount: by its count cachelib decides when to remove sessions that have not expired.
func TestCount(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir, nil)
	countPath := filepath.Join(dir, "2029240f6d1128be89ddc32729463129")
	create := func(keys ...string) {
		t.Helper()
		for _, key := range keys {
			if err := s.Create(t.Context(), record(key)); err != nil {
				t.Fatal(err)
			}
		}
	}
	create("before")
	if _, err := os.Stat(countPath); err == nil {
		t.Error("a count was made where cachelib has none: its threshold is 0")
	}
	for content, want := range map[string]string{
		"\x80\x05K\x05.": "\x80\x04J\x06\x00\x00\x00.", "\x80\x05M\x2c\x01.": "\x80\x04J\x2d\x01\x00\x00.",
		"\x80\x05\x95\x06\x00\x00\x00\x00\x00\x00\x00J\x00\x00\x01\x00.": "\x80\x04J\x01\x00\x01\x00.",
		"\x80\x05}.": "\x80\x05}.", "": "",
	} {
		if err := os.WriteFile(countPath, []byte("\x00\x00\x00\x00"+content), 0o600); err != nil {
			t.Fatal(err)
		}
		create("one", "two")
		if err := s.Create(t.Context(), record("two")); err == nil {
			t.Fatal("Create of a taken key worked")
		}
		rec := record("two")
		if err := s.Replace(t.Context(), rec, 1); err != nil {
			t.Fatal(err)
		}
		rec.Kind = store.Ended
		if err := s.Replace(t.Context(), rec, 1); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(countPath)
		if err != nil || string(got) != "\x00\x00\x00\x00"+want {
			t.Errorf("%q and one session more: got %q, want %q", content, got, want)
		}
		for range 2 {
			for _, key := range []string{"one", "two"} {
				if err := s.Delete(t.Context(), key); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}

func TestAllAndSweep(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir, nil)
	ended := record("ended")
	for _, rec := range []store.Record{record("one"), ended, record("over")} {
		if err := s.Create(t.Context(), rec); err != nil {
			t.Fatal(err)
		}
	}
	ended.Kind, ended.ExpiresAt = store.Ended, time.Now().Add(-time.Minute)
	if err := s.Replace(t.Context(), ended, 1); err != nil {
		t.Fatal(err)
	}
	c := cachelib{dir, flaskfiles.SHA256}
	c.set("over", []byte("\x80\x04}."), -time.Minute)
	old := filepath.Join(dir, "hipflask-X.__wz_cache")
	for _, name := range []string{old, filepath.Join(dir, "tmpabc.__wz_cache"), filepath.Join(dir, "README")} {
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chtimes(old, time.Now(), time.Now().Add(-2*time.Hour)); err != nil {
		t.Fatal(err)
	}
	n := 0
	for rec, err := range s.All(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if n++; rec.Key != "" || string(rec.Data) != "\x80\x04}." {
			t.Errorf("got %+v", rec)
		}
	}
	if n != 1 {
		t.Errorf("All yields %d sessions, want 1", n)
	}
	if n, err := s.Sweep(t.Context(), 10); n != 3 || err != nil {
		t.Errorf("Sweep: got %d, %v; want 3: a session, a mark, and what a process left that died", n, err)
	}
	names, err := filepath.Glob(filepath.Join(dir, "*"))
	names = slices.DeleteFunc(names, func(name string) bool { return strings.Contains(name, "hipflask.lock-") })
	if err != nil || len(names) != 3 { // the session, and what is not ours
		t.Errorf("left are %v, %v; want 3", names, err)
	}
}

// TestErrorsNameNoFile: a name is a hash of the session's ID.
func TestErrorsNameNoFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir, nil)
	path := cachelib{dir, flaskfiles.SHA256}.path("abc")
	if err := os.MkdirAll(filepath.Join(path, "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	_, err := s.Load(t.Context(), "abc")
	errs := []error{err, s.Create(t.Context(), record("abc")), s.Delete(t.Context(), "abc"),
		s.Touch(t.Context(), "abc", 1, time.Now(), time.Now())}
	for i, err := range errs {
		if err == nil || strings.Contains(err.Error(), filepath.Base(path)) || strings.Contains(err.Error(), "abc") {
			t.Errorf("%d: got %v, want an error without the file's name", i, err)
		}
	}
}
