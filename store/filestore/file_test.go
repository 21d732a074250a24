package filestore

import (
	"testing"
	"time"

	"github.com/hipflask/session/store"
)

// Delete ends a record also for those who have opened its file before, and wait for its lock.
func TestDeleteMarksTheRecord(t *testing.T) {
	t.Parallel()
	s, err := Open(t.TempDir()+"/s", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	rec := store.Record{Key: "key", Version: 1, Principal: "alice", ExpiresAt: time.Now().Add(time.Hour)}
	if err := s.Create(t.Context(), rec); err != nil {
		t.Fatal(err)
	}
	f, err := s.root.openRecord(nameOf("key"), modeWrite)
	if err != nil {
		t.Fatal(err)
	}
	defer f.close()
	if err := s.Delete(t.Context(), "key"); err != nil {
		t.Fatal(err)
	}
	cur, _, _, err := new(buffers).loadLocked(f)
	if err != nil || cur == nil || !cur.expired(now()) {
		t.Errorf("a file that was open when its record was deleted: got slot %+v and error %v, want "+
			"an expired one", cur, err)
	}
}
