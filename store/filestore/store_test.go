package filestore_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/filestore"
)

// size returns how large a record's file is.
func size(t *testing.T, dir, key string) int64 {
	t.Helper()
	info, err := os.Stat(filepath.Join(dir, filestore.PathOf(key)))
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

func load(t *testing.T, s store.Store, key string) store.Record {
	t.Helper()
	rec, err := s.Load(t.Context(), key)
	if err != nil {
		t.Fatalf("Load: %v", err)
	}
	return rec
}

func absent(t *testing.T, s store.Store, key string) {
	t.Helper()
	if _, err := s.Load(t.Context(), key); !errors.Is(err, store.ErrNotFound) {
		t.Fatalf("Load: got error %v, want ErrNotFound", err)
	}
}

func same(t *testing.T, got, want store.Record) {
	t.Helper()
	if got.Version != want.Version || !bytes.Equal(got.Data, want.Data) || !got.ExpiresAt.Equal(want.ExpiresAt) ||
		got.Principal != want.Principal || got.Kind != want.Kind {
		t.Fatalf("got record %+.200v\nwant %+.200v", got, want)
	}
}

// Data moves between the slots and the extent behind them as it grows and shrinks; the file keeps room for what it may
// need for the two states that it holds, and no more.
func TestDataOfEverySize(t *testing.T) {
	t.Parallel()
	dir := t.TempDir() + "/s"
	s := open(t, dir, nil)
	rec := newRecord("key", "alice")
	create(t, s, rec)
	for _, n := range []int{
		0, 1, 1800, 1801, 1802, 1803, 1804, 1805, 1900, filestore.SlotSize, 5000, 100, 5000, 6000, 4096,
		1, 70_000, 1 << 20, 1 << 20,
		3, 1 << 18, 1 << 19, 1 << 20, 1<<20 + 1, 1<<20 + 2, 10, 10,
	} {
		rec.Data = bytes.Repeat([]byte{byte(n)}, n)
		rec = replace(t, s, rec)
		same(t, load(t, s, "key"), rec)
		if err := s.Touch(t.Context(), "key", rec.Version, rec.LastSeenAt, rec.ExpiresAt); err != nil {
			t.Fatal(err)
		}
		same(t, load(t, s, "key"), rec)
		if got, most := size(t, dir, "key"), int64(4<<20); got > most {
			t.Fatalf("file with %d bytes of data: got %d bytes, want at most %d", n, got, most)
		}
	}
	if got := size(t, dir, "key"); got > 4096 {
		t.Errorf("file of a session that was large: got %d bytes, want at most 4096", got)
	}
}

// Nothing of an ended session stays in its file, not in the other slot either.
func TestTombstoneWipes(t *testing.T) {
	t.Parallel()
	for _, n := range []int{200, 10_000} {
		dir := t.TempDir() + "/s"
		s := open(t, dir, nil)
		rec := newRecord("key", "alice")
		rec.Data = bytes.Repeat([]byte("secret"), n/6)
		create(t, s, rec)
		rec = replace(t, s, rec)
		rec.Kind, rec.Data = store.Ended, nil
		rec = replace(t, s, rec)
		same(t, load(t, s, "key"), rec)
		raw, err := os.ReadFile(filepath.Join(dir, filestore.PathOf("key")))
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(raw, []byte("secret")) {
			t.Errorf("data of %d bytes: the file of the ended session still holds some", n)
		}
	}
}

func TestHostileKeys(t *testing.T) {
	t.Parallel()
	parent := t.TempDir()
	dir := filepath.Join(parent, "s")
	s := open(t, dir, nil)
	keys := []string{
		".", "..", "/", "../../etc/passwd", "/etc/passwd", `..\..\x`, `C:\x`, "a:b", "*", "?", "CON",
		"nul", "con.txt", "a.", "~", "-rf",
		"key", "Key", "KEY", "%00", "%2e%2e%2f", "$(id)", "`id`", "'", `"`, "sessions",
		"listed", strings.Repeat("x", 128), strings.Repeat("/", 128),
	}
	for i, key := range keys {
		rec := newRecord(key, "alice")
		rec.Data = fmt.Append(nil, i)
		create(t, s, rec)
	}
	for i, key := range keys {
		if rec := load(t, s, key); string(rec.Data) != fmt.Sprint(i) || rec.Key != key {
			t.Errorf("key %q: got the record of key %q", key, rec.Key)
		}
	}
	err := filepath.WalkDir(parent, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		name := d.Name()
		if path == parent {
			return nil
		}
		if strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789") != "" && name != "s" {
			t.Errorf("file %q: want letters and digits only", name)
		}
		if want := map[bool]os.FileMode{true: 0o700, false: 0o600}[d.IsDir()]; info.Mode().Perm() != want &&
			runtime.GOOS != "windows" {
			t.Errorf("mode of %s: got %#o, want %#o", path, info.Mode().Perm(), want)
		}
		if rel, _ := filepath.Rel(parent, path); rel != "s" && !strings.HasPrefix(rel, "s"+string(filepath.Separator)) {
			t.Errorf("file %q lies outside of the folder", path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestContractIsChecked(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir()+"/s", nil)
	for _, key := range []string{"", strings.Repeat("k", 129), "with space", "tab\t", "new\nline", "nul\x00",
		"caf\xc3\xa9", "\x7f"} {
		rec := newRecord(key, "")
		_, loadErr := s.Load(t.Context(), key)
		for name, err := range map[string]error{
			"Load": loadErr, "Create": s.Create(t.Context(), rec), "Replace": s.Replace(t.Context(), rec, 1),
			"Touch": s.Touch(t.Context(), key, 1, time.Now(), time.Now()), "Delete": s.Delete(t.Context(), key),
		} {
			if err == nil || errors.Is(err, store.ErrNotFound) ||
				!strings.HasPrefix(err.Error(), "filestore: a key has ") {
				t.Errorf("%s of key %q: got error %v, want one about the key", name, key, err)
			} else if key != "" && strings.Contains(err.Error(), key) {
				t.Errorf("%s: the error %q shows the key", name, err)
			}
		}
	}
	for field, set := range map[string]func(*store.Record){
		"Principal": func(r *store.Record) { r.Principal = strings.Repeat("p", 257) },
		"Label":     func(r *store.Record) { r.Label = strings.Repeat("p", 257) },
		"Public":    func(r *store.Record) { r.Public = make([]byte, 513) },
		"MovedTo":   func(r *store.Record) { r.MovedTo = strings.Repeat("p", 129) },
		"Handle":    func(r *store.Record) { r.Handle = strings.Repeat("p", 129) },
	} {
		rec := newRecord("key", "")
		set(&rec)
		if err := s.Create(t.Context(), rec); err == nil || !strings.Contains(err.Error(), field) ||
			strings.Contains(err.Error(), "ppp") {
			t.Errorf("Create with a long %s: got error %v", field, err)
		}
	}
	rec := newRecord("key", "alice")
	create(t, s, rec)
	rec.Principal = "mallory"
	if err := s.Replace(t.Context(), rec, rec.Version); err == nil || strings.Contains(err.Error(), "mallory") {
		t.Errorf("Replace with another principal: got error %v, want one that does not tell whom", err)
	}
}

// The longest texts that the contract allows have room, with and without data.
func TestLongestTexts(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir()+"/s", nil)
	for i, n := range []int{0, 2000, 100_000} {
		rec := newRecord(strings.Repeat("k", 127)+fmt.Sprint(i), strings.Repeat("p", 256))
		rec.Label, rec.MovedTo, rec.Handle = strings.Repeat("l", 256), strings.Repeat("m", 128),
			strings.Repeat("h", 128)
		rec.Public = bytes.Repeat([]byte{0xff}, 512)
		rec.Kind, rec.Data = store.Renewed, bytes.Repeat([]byte{7}, n)
		create(t, s, rec)
		got := load(t, s, rec.Key)
		same(t, got, rec)
		if got.Label != rec.Label || !bytes.Equal(got.Public, rec.Public) || got.MovedTo != rec.MovedTo ||
			got.Handle != rec.Handle || !got.CreatedAt.Equal(rec.CreatedAt) {
			t.Errorf("with %d bytes of data: got record %+v", n, got)
		}
	}
}

func TestClose(t *testing.T) {
	t.Parallel()
	dir := t.TempDir() + "/s"
	s := open(t, dir, nil)
	rec := newRecord("key", "alice")
	create(t, s, rec)
	for range 2 {
		if err := s.Close(); err != nil {
			t.Fatalf("Close: %v", err)
		}
	}
	_, loadErr := s.Load(t.Context(), "key")
	_, sweepErr := s.Sweep(t.Context(), 1)
	var allErr, principalErr error
	for _, err := range s.All(t.Context()) {
		allErr = err
	}
	for _, err := range s.Principal(t.Context(), "alice") {
		principalErr = err
	}
	for name, err := range map[string]error{
		"Load": loadErr, "Create": s.Create(t.Context(), rec), "Replace": s.Replace(t.Context(), rec, 1),
		"Touch": s.Touch(t.Context(), "key", 1, time.Now(), time.Now()), "Delete": s.Delete(t.Context(), "key"),
		"Sweep": sweepErr, "All": allErr, "Principal": principalErr,
	} {
		if err == nil || err.Error() != "filestore: the store is closed" {
			t.Errorf("%s after Close: got error %v, want that the store is closed", name, err)
		}
	}
	same(t, load(t, open(t, dir, nil), "key"), rec)
}

// Close waits for what is under way, and nobody waits for Close.
func TestCloseWhileInUse(t *testing.T) {
	t.Parallel()
	dir := t.TempDir() + "/s"
	create(t, open(t, dir, nil), newRecord("key", "alice"))
	for range 20 {
		s := open(t, dir, nil)
		var wg sync.WaitGroup
		loaded := make(chan struct{})
		for i := range 8 {
			wg.Go(func() {
				for n := 0; ; n++ {
					if i == 0 && n == 10 {
						close(loaded)
					}
					if _, err := s.Load(t.Context(), "key"); err != nil {
						if err.Error() != "filestore: the store is closed" {
							t.Errorf("Load: got error %v", err)
						}
						return
					}
				}
			})
		}
		<-loaded
		s.Close()
		wg.Wait()
	}
}

// The wall clock decides, to the millisecond.
func TestExpiry(t *testing.T) {
	t.Parallel()
	dir := t.TempDir() + "/s"
	synctest.Test(t, func(t *testing.T) {
		s := open(t, dir, nil)
		rec := newRecord("key", "alice")
		rec.ExpiresAt = time.Now().Add(50 * time.Millisecond)
		create(t, s, rec)
		time.Sleep(49 * time.Millisecond)
		load(t, s, "key")
		time.Sleep(time.Millisecond)
		absent(t, s, "key")
		for name, err := range map[string]error{
			"Touch":   s.Touch(t.Context(), "key", rec.Version, time.Now(), time.Now().Add(time.Hour)),
			"Replace": s.Replace(t.Context(), rec, rec.Version),
		} {
			if !errors.Is(err, store.ErrNotFound) {
				t.Errorf("%s of an expired record: got error %v, want ErrNotFound", name, err)
			}
		}
		if got := list(t, s.Principal(t.Context(), "alice")); len(got) != 0 {
			t.Errorf("Principal: got %d expired records", len(got))
		}
		rec.Principal, rec.ExpiresAt = "bob", time.Now().Add(time.Hour)
		create(t, s, rec)
		same(t, load(t, s, "key"), rec)
		if _, err := os.Lstat(filepath.Join(dir, filestore.EntryOf("alice", "key"))); err == nil {
			t.Error("the entry of the expired record's principal is still there")
		}
	})
}

// 64 writers, half of them through another Store, each add one to the same record: every success counts once.
func TestWritersExcludeEachOther(t *testing.T) {
	t.Parallel()
	dir := t.TempDir() + "/s"
	stores := []*filestore.Store{open(t, dir, nil), open(t, dir, nil)}
	rec := newRecord("key", "alice")
	rec.Data = make([]byte, 1)
	create(t, stores[0], rec)
	const writers, each = 64, 4
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() {
			for range each {
				increment(t, stores[i%2], "key")
			}
		})
	}
	wg.Wait()
	if got := len(load(t, stores[0], "key").Data); got != 1+writers*each {
		t.Errorf("after %d increments: got %d", writers*each, got-1)
	}
}

// increment makes a record's data a byte longer, whatever others do to it at the same time.
func increment(t *testing.T, s store.Store, key string) {
	for {
		rec, err := s.Load(t.Context(), key)
		if err != nil {
			t.Errorf("Load: %v", err)
			return
		}
		old := rec.Version
		rec.Version, rec.Data = store.NewVersion(), append(rec.Data, 0)
		if err = s.Replace(t.Context(), rec, old); err == nil {
			return
		} else if !errors.Is(err, store.ErrConflict) {
			t.Errorf("Replace: %v", err)
			return
		}
	}
}

// A Load sees every write that was answered before it began, and whole ones only, also while writes are under way.
func TestLoadsAreLinearizable(t *testing.T) {
	t.Parallel()
	for _, size := range []int{100, 1700, 9000} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir() + "/s"
			w, r := open(t, dir, nil), open(t, dir, nil)
			rec := newRecord("key", "alice")
			rec.Version, rec.Data = 1, bytes.Repeat([]byte{1}, size)
			create(t, w, rec)
			var answered atomic.Uint64
			answered.Store(1)
			done := make(chan struct{})
			var wg sync.WaitGroup
			for range 3 {
				wg.Go(func() {
					for last := uint64(0); ; {
						floor := max(last, answered.Load())
						got, err := r.Load(t.Context(), "key")
						if err != nil {
							t.Errorf("Load: %v", err)
							return
						}
						if got.Version < floor {
							t.Errorf("Load: got write %d after write %d was answered or seen", got.Version, floor)
							return
						}
						if !bytes.Equal(got.Data, bytes.Repeat([]byte{byte(got.Version)}, len(got.Data))) ||
							len(got.Data) < size {
							t.Errorf("Load: got data that is not of write %d", got.Version)
							return
						}
						last = got.Version
						select {
						case <-done:
							return
						default:
						}
					}
				})
			}
			for v := uint64(2); v < 2000; v++ {
				rec.Version, rec.Data = v, bytes.Repeat([]byte{byte(v)}, size+int(v%50))
				if err := w.Replace(t.Context(), rec, v-1); err != nil {
					t.Fatal(err)
				}
				answered.Store(v)
			}
			close(done)
			wg.Wait()
		})
	}
}

// Who opened the file before it was removed neither writes to it nor gets in the way of a new one.
func TestCreateAndDeleteRace(t *testing.T) {
	t.Parallel()
	dir := t.TempDir() + "/s"
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			s := open(t, dir, nil)
			for range 100 {
				rec := newRecord("key", "alice")
				switch err := s.Create(t.Context(), rec); {
				case errors.Is(err, store.ErrExists):
					if err := s.Delete(t.Context(), "key"); err != nil {
						t.Errorf("Delete: %v", err)
					}
				case err != nil:
					t.Errorf("Create: %v", err)
				default:
					// Somebody may delete or replace it at once, but not leave it without its principal.
					old := rec.Version
					rec.Version = store.NewVersion()
					err := s.Replace(t.Context(), rec, old)
					if err != nil && !errors.Is(err, store.ErrNotFound) && !errors.Is(err, store.ErrConflict) {
						t.Errorf("Replace: %v", err)
					}
				}
			}
		})
	}
	wg.Wait()
	s := open(t, dir, nil)
	if err := s.Delete(t.Context(), "key"); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{filestore.PathOf("key"), filestore.EntryOf("alice", "key"),
		filestore.EntryOf("alice", "key") + "~"} {
		if _, err := os.Lstat(filepath.Join(dir, path)); err == nil {
			t.Errorf("%s is still there", path)
		}
	}
}

func TestSync(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir()+"/s", &filestore.Options{Sync: true})
	rec := newRecord("key", "alice")
	create(t, s, rec)
	rec = replace(t, s, rec)
	if err := s.Touch(t.Context(), "key", rec.Version, time.Now(), rec.ExpiresAt); err != nil {
		t.Fatal(err)
	}
	same(t, load(t, s, "key"), rec)
	if got := list(t, s.Principal(t.Context(), "alice")); len(got) != 1 {
		t.Errorf("Principal: got %d records, want 1", len(got))
	}
	if err := s.Delete(t.Context(), "key"); err != nil {
		t.Fatal(err)
	}
	absent(t, s, "key")
}

// A loop over All or Principal may do to the store what it likes.
func TestListingWhileDeleting(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir()+"/s", nil)
	for i := range 50 {
		create(t, s, newRecord(fmt.Sprint("key", i), "alice"))
	}
	seen := 0
	for rec, err := range s.Principal(t.Context(), "alice") {
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Delete(t.Context(), rec.Key); err != nil {
			t.Fatal(err)
		}
		create(t, s, newRecord(fmt.Sprint("other", seen), "alice"))
		seen++
	}
	if seen != 50 {
		t.Errorf("Principal while deleting and creating: got %d records, want 50", seen)
	}
	seen = 0
	for rec, err := range s.All(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Delete(t.Context(), rec.Key); err != nil {
			t.Fatal(err)
		}
		seen++
	}
	if seen != 50 {
		t.Errorf("All while deleting: got %d records, want 50", seen)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, err := range s.All(ctx) {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("All after cancel: got error %v", err)
		}
	}
}
