package sqlitestore_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/internal/sqltest"
	"github.com/hipflask/session/store/sqlitestore"
)

// The test binary is also the program that tests start several of, and kill.
func TestMain(m *testing.M) {
	path := os.Getenv("SQLITESTORE_FILE")
	var err error
	switch os.Getenv("SQLITESTORE_CHILD") {
	case "":
		os.Exit(m.Run())
	case "increment":
		err = increment(path)
	case "write":
		err = write(path)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func startChild(t *testing.T, what, path string) (*exec.Cmd, *bufio.Scanner) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), "SQLITESTORE_CHILD="+what, "SQLITESTORE_FILE="+path)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, bufio.NewScanner(out)
}

const increments = 100

// increment opens the file, makes the table if nobody has, and makes the record "key" longer, with others that do the
// same.
func increment(path string) error {
	ctx := context.Background()
	s, err := sqlitestore.Open(ctx, path, nil)
	if err != nil {
		return err
	}
	defer s.Close()
	if err := s.Migrate(ctx); err != nil {
		return err
	}
	rec := sqltest.NewRecord("ann")
	rec.Key, rec.Data = "key", nil
	if err := s.Create(ctx, rec); err != nil && !errors.Is(err, store.ErrExists) {
		return err
	}
	for done := 0; done < increments; {
		rec, err := s.Load(ctx, "key")
		if err != nil {
			return err
		}
		old := rec.Version
		rec.Version, rec.Data = store.NewVersion(), append(rec.Data, 0)
		switch err := s.Replace(ctx, rec, old); {
		case err == nil:
			done++
		case !errors.Is(err, store.ErrConflict):
			return err
		}
	}
	return nil
}

// Several processes, started at the same moment on a file that isn't there, lose no write of each other.
func TestProcesses(t *testing.T) {
	t.Parallel()
	path := file(t)
	const processes = 4
	children := make([]*exec.Cmd, processes)
	for i := range children {
		children[i], _ = startChild(t, "increment", path)
	}
	for _, child := range children {
		if err := child.Wait(); err != nil {
			t.Errorf("a process among others: %v", err)
		}
	}
	rec, err := open(t, path, nil).Load(t.Context(), "key")
	if err != nil || len(rec.Data) != processes*increments {
		t.Errorf("got %d increments (%v), want %d", len(rec.Data), err, processes*increments)
	}
}

// write creates records and says each key when its Create has answered.
func write(path string) error {
	s, err := sqlitestore.Open(context.Background(), path, nil)
	if err != nil {
		return err
	}
	for {
		rec := sqltest.NewRecord("ann")
		rec.Data = []byte(strings.Repeat(rec.Key, 500))
		if err := s.Create(context.Background(), rec); err != nil {
			return err
		}
		fmt.Println(rec.Key)
	}
}

// A process that is killed in the middle leaves everything that was answered, whole, and nobody waits for its locks.
func TestProcessIsKilled(t *testing.T) {
	t.Parallel()
	path := file(t)
	s := open(t, path, nil)
	for range 5 {
		child, out := startChild(t, "write", path)
		var keys []string
		for len(keys) < 50 && out.Scan() {
			keys = append(keys, out.Text())
		}
		if err := child.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		for out.Scan() {
			keys = append(keys, out.Text())
		}
		child.Wait()
		sqltest.Create(t, s, sqltest.NewRecord("bob"))
		for _, key := range keys {
			if rec, err := s.Load(t.Context(), key); err != nil || string(rec.Data) != strings.Repeat(key, 500) {
				t.Fatalf("Load of what was answered before the process was killed: %v", err)
			}
		}
		if len(keys) < 50 {
			t.Fatalf("got %d keys of a process, want 50", len(keys))
		}
	}
}
