package filestore_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/filestore"
)

func keys(recs []store.Record) []string {
	var got []string
	for _, rec := range recs {
		got = append(got, rec.Key)
	}
	slices.Sort(got)
	return got
}

// listed checks which sessions of a principal a listing finds.
func listed(t *testing.T, s *filestore.Store, principal string, want ...string) {
	t.Helper()
	if got := keys(list(t, s.Principal(t.Context(), principal))); !slices.Equal(got, want) {
		t.Fatalf("Principal: got keys %q, want %q", got, want)
	}
}

func removeEntry(t *testing.T, dir, principal, key string) {
	t.Helper()
	if err := os.Remove(filepath.Join(dir, filestore.EntryOf(principal, key))); err != nil {
		t.Fatal(err)
	}
}

func TestPrincipal(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir()+"/s", nil)
	for i := range 30 {
		create(t, s, newRecord(fmt.Sprint("key", i), fmt.Sprint("user", i%10)))
	}
	create(t, s, newRecord("anonymous", ""))
	listed(t, s, "user3", "key13", "key23", "key3")
	tomb := load(t, s, "key3")
	tomb.Kind, tomb.MovedTo, tomb.Data = store.Renewed, "key13", nil
	replace(t, s, tomb)
	listed(t, s, "user3", "key13", "key23", "key3")
	if err := s.Delete(t.Context(), "key13"); err != nil {
		t.Fatal(err)
	}
	listed(t, s, "user3", "key23", "key3")
	listed(t, s, "nobody")
	listed(t, s, "")
	for _, rec := range list(t, s.Principal(t.Context(), "user4")) {
		if rec.Data != nil {
			t.Errorf("Principal: got a record with %d bytes of data, want none", len(rec.Data))
		}
	}
}

// An entry that was lost is restored by the next Load, so that later listings find the session.
func TestLostEntryIsRestored(t *testing.T) {
	t.Parallel()
	for name, lose := range map[string]func(t *testing.T, dir string){
		"entry": func(t *testing.T, dir string) { removeEntry(t, dir, "alice", "key") },
		"index": func(t *testing.T, dir string) {
			if err := os.RemoveAll(filepath.Join(dir, "principals")); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir() + "/s"
			s := open(t, dir, nil)
			rec := newRecord("key", "alice")
			create(t, s, rec)
			lose(t, dir)
			same(t, load(t, s, "key"), rec)
			listed(t, s, "alice", "key")
			same(t, load(t, s, "key"), rec)
		})
	}
}

// Sweep and All look at the records, too.
func TestLostEntryIsRestoredByOthers(t *testing.T) {
	t.Parallel()
	dir := t.TempDir() + "/s"
	s := open(t, dir, nil)
	create(t, s, newRecord("key", "alice"))
	removeEntry(t, dir, "alice", "key")
	s.WalkFrom("key")
	if _, err := s.Sweep(t.Context(), 10); err != nil {
		t.Fatal(err)
	}
	listed(t, s, "alice", "key")
	create(t, s, newRecord("other", "bob"))
	removeEntry(t, dir, "bob", "other")
	if got := keys(list(t, s.All(t.Context()))); !slices.Equal(got, []string{"key", "other"}) {
		t.Fatalf("All: got keys %q", got)
	}
	listed(t, s, "bob", "other")
}

// A session that "log out everywhere" could not see has ended with the others. Sessions that are younger, and other
// people's, are not touched.
func TestLostEntryAfterListing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir() + "/s"
	s, other := open(t, dir, nil), open(t, dir, nil)
	create(t, s, newRecord("key", "alice"))
	create(t, s, newRecord("bobs", "bob"))
	removeEntry(t, dir, "alice", "key")
	removeEntry(t, dir, "bob", "bobs")
	listed(t, s, "alice")
	absent(t, other, "key")
	absent(t, s, "key")
	load(t, s, "bobs")
	if err := s.Create(t.Context(), newRecord("key", "alice")); err != nil {
		t.Fatalf("Create: %v", err)
	}
	waitForNextMilli()
	create(t, s, newRecord("younger", "alice"))
	removeEntry(t, dir, "alice", "younger")
	load(t, s, "younger")
}

// waitForNextMilli waits until the clock shows another millisecond.
func waitForNextMilli() {
	for start := nowMilli(); nowMilli() == start; {
	}
}

// The same, with a listing and a load at the same time: whatever the order, a session that can be loaded after the
// listing was in it.
func TestLostEntryRacesListing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir() + "/s"
	s, other := open(t, dir, nil), open(t, dir, nil)
	found := 0
	for i := range 200 {
		key, principal := fmt.Sprint("key", i), fmt.Sprint("user", i)
		create(t, s, newRecord(key, principal))
		removeEntry(t, dir, principal, key)
		var wg sync.WaitGroup
		wg.Go(func() { other.Load(t.Context(), key) })
		recs := list(t, s.Principal(t.Context(), principal))
		wg.Wait()
		if _, err := s.Load(t.Context(), key); err == nil && len(recs) == 0 {
			t.Fatalf("round %d: a session that the listing has missed can be loaded after it", i)
		}
		found += len(recs)
	}
	t.Logf("listings found %d of 200", found)
}

// A folder that was copied file by file has no links. Its index is as good as the original's, also for principals
// whose sessions were listed.
func TestCopiedFolder(t *testing.T) {
	t.Parallel()
	from, to := t.TempDir()+"/from", t.TempDir()+"/to"
	s := open(t, from, nil)
	for i := range 20 {
		create(t, s, newRecord(fmt.Sprint("key", i), fmt.Sprint("user", i%2)))
	}
	listed(t, s, "user0", "key0", "key10", "key12", "key14", "key16", "key18", "key2", "key4", "key6", "key8")
	s.Close()
	copyFolder(t, from, to)
	s = open(t, to, nil)
	for range 2 {
		for i := range 20 {
			load(t, s, fmt.Sprint("key", i))
		}
	}
	for i := range 20 {
		info, err := os.Stat(filepath.Join(to, filestore.PathOf(fmt.Sprint("key", i))))
		if err != nil {
			t.Fatal(err)
		}
		entry, err := os.Stat(filepath.Join(to, filestore.EntryOf(fmt.Sprint("user", i%2), fmt.Sprint("key", i))))
		if err != nil || !os.SameFile(info, entry) {
			t.Errorf("entry of key %d: got error %v, want the same file again", i, err)
		}
	}
	listed(t, s, "user1", "key1", "key11", "key13", "key15", "key17", "key19", "key3", "key5", "key7", "key9")
}

func copyFolder(t *testing.T, from, to string) {
	t.Helper()
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.Mkdir(filepath.Join(to, rel), 0o700)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, rel), data, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// The entry of a key that another principal had is not in the way, whoever left it.
func TestEntryLeftByAnother(t *testing.T) {
	t.Parallel()
	dir := t.TempDir() + "/s"
	s := open(t, dir, nil)
	create(t, s, newRecord("key", "alice"))
	path := filepath.Join(dir, filestore.PathOf("key"))
	if err := os.Remove(path); err != nil { // a cleaner took it
		t.Fatal(err)
	}
	for _, principal := range []string{"alice", "bob"} {
		create(t, s, newRecord("key", principal))
		listed(t, s, principal, "key")
		entry := filepath.Join(dir, filestore.EntryOf(principal, "key"))
		if a, err := os.Stat(path); err != nil {
			t.Fatal(err)
		} else if b, err := os.Stat(entry); err != nil || !os.SameFile(a, b) {
			t.Errorf("entry of %s: got error %v, want a link to the record", principal, err)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	listed(t, s, "alice")
	for _, principal := range []string{"alice", "bob"} {
		s.WalkFromPrincipal(principal)
		if _, err := s.Sweep(t.Context(), 10); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Lstat(filepath.Join(dir, filestore.EntryOf(principal, "key"))); err == nil {
			t.Errorf("the entry of %s leads nowhere, and Sweep has left it", principal)
		}
	}
	if _, err := os.Lstat(path); err == nil {
		t.Error("Sweep has left an empty file where it removed an entry")
	}
}
