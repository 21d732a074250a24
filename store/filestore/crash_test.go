package filestore_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/filestore"
)

// The test binary is also the program that tests start several of, and kill.
func TestMain(m *testing.M) {
	switch dir := os.Getenv("FILESTORE_DIR"); os.Getenv("FILESTORE_CHILD") {
	case "":
		os.Exit(m.Run())
	case "increment":
		child(incrementer(dir))
	case "write":
		child(writer(dir, os.Getenv("FILESTORE_KEYS")))
	case "create", "denied", "allowed":
		child(asNobody(os.Getenv("FILESTORE_CHILD"), dir))
	}
}

func child(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func startChild(t *testing.T, what, dir, keys string) (*exec.Cmd, *bufio.Scanner) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), "FILESTORE_CHILD="+what, "FILESTORE_DIR="+dir, "FILESTORE_KEYS="+keys)
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

const increments = 300

// incrementer makes the record "key" longer, with others that do the same.
func incrementer(dir string) error {
	s, err := filestore.Open(dir, nil)
	if err != nil {
		return err
	}
	defer s.Close()
	for done := 0; done < increments; {
		rec, err := s.Load(context.Background(), "key")
		if err != nil {
			return err
		}
		old := rec.Version
		rec.Version, rec.Data = store.NewVersion(), append(rec.Data, 0)
		switch err := s.Replace(context.Background(), rec, old); {
		case err == nil:
			done++
		case !errors.Is(err, store.ErrConflict):
			return err
		}
	}
	return nil
}

// Processes exclude each other as goroutines do.
func TestProcesses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir() + "/s"
	s := open(t, dir, nil)
	rec := newRecord("key", "alice")
	rec.Data = make([]byte, 1)
	create(t, s, rec)
	var wg sync.WaitGroup
	for range 3 {
		cmd, _ := startChild(t, "increment", dir, "")
		wg.Go(func() {
			if err := cmd.Wait(); err != nil {
				t.Errorf("process: %v", err)
			}
		})
	}
	for range 50 {
		increment(t, s, "key")
	}
	wg.Wait()
	if got, want := len(load(t, s, "key").Data), 1+3*increments+50; got != want {
		t.Errorf("after %d increments by 4 processes: got %d", want-1, got-1)
	}
}

// A writer changes its keys at random, and says what it is going to do and that it is done: "try KEY STATE", "ok KEY
// STATE", where STATE is a version, or 0 for absent.
func writer(dir, prefix string) error {
	s, err := filestore.Open(dir, nil)
	if err != nil {
		return err
	}
	ctx := context.Background()
	out := os.Stdout // not buffered: what was said before a kill has been said
	for {
		key := prefix + strconv.Itoa(rand.N(20))
		cur, err := s.Load(ctx, key)
		exists := err == nil
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		next := writerRecord(key, store.NewVersion())
		switch op := rand.N(10); {
		case !exists:
			fmt.Fprintln(out, "try", key, next.Version)
			err = s.Create(ctx, next)
		case op == 0:
			next.Version = 0
			fmt.Fprintln(out, "try", key, 0)
			err = s.Delete(ctx, key)
		case op == 1:
			next.Version = cur.Version
			fmt.Fprintln(out, "try", key, cur.Version)
			err = s.Touch(ctx, key, cur.Version, time.Now(), time.Now().Add(time.Hour+rand.N(time.Hour)))
		case op == 2:
			next.Version = cur.Version
			fmt.Fprintln(out, "try", key, cur.Version)
			_, err = s.Sweep(ctx, 5)
		default:
			fmt.Fprintln(out, "try", key, next.Version)
			err = s.Replace(ctx, next, cur.Version)
		}
		if err != nil {
			return err
		}
		fmt.Fprintln(out, "ok", key, next.Version)
	}
}

// writerRecord returns the record that a writer stores under a version: all of it follows from that.
func writerRecord(key string, version uint64) store.Record {
	rng := rand.New(rand.NewPCG(version, 0))
	rec := newRecord(key, "")
	if key[len(key)-1]%2 == 0 {
		rec.Principal = "user" + key[:1]
	}
	rec.Version, rec.ExpiresAt = version, time.Now().Add(time.Hour)
	rec.Data = bytes.Repeat([]byte{byte(version)}, rng.IntN(1600))
	if rng.IntN(4) == 0 {
		rec.Data = bytes.Repeat([]byte{byte(version)}, rng.IntN(40_000))
	}
	return rec
}

// kills is how often processes are killed. FILESTORE_KILLS=1000 is for a night.
func kills(t *testing.T) int {
	if text := os.Getenv("FILESTORE_KILLS"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if testing.Short() {
		return 6
	}
	return 36
}

// Processes that write are killed at random moments. What they were told is stored is stored, whole; what they were
// doing is done or not; their locks are gone; and in the end nothing is left of them.
func TestKilledProcesses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir() + "/s"
	s := open(t, dir, nil)
	// For each key the state that was answered, and the one that was being written, if any.
	answered, tried := make(map[string]uint64), make(map[string]uint64)
	const writers = 3
	for range kills(t) / writers {
		var wg sync.WaitGroup
		var mu sync.Mutex
		for w := range writers {
			cmd, out := startChild(t, "write", dir, string(rune('a'+w)))
			wg.Go(func() {
				for out.Scan() {
					f := strings.Fields(out.Text())
					if len(f) != 3 {
						break // cut off
					}
					version, err := strconv.ParseUint(f[2], 10, 64)
					if err != nil {
						t.Error(err)
						break
					}
					mu.Lock()
					if f[0] == "ok" {
						answered[f[1]] = version
						delete(tried, f[1])
					} else {
						tried[f[1]] = version
					}
					mu.Unlock()
					if rand.N(100) == 0 {
						// not to synchronise: to be somewhere in the next operation
						time.Sleep(rand.N(200 * time.Microsecond))
						cmd.Process.Kill()
					}
				}
				cmd.Wait()
			})
		}
		wg.Wait()
		checkKilled(t, s, answered, tried)
		if t.Failed() {
			return
		}
	}
	if len(answered) < 3*writers {
		t.Errorf("the writers got to %d keys only", len(answered))
	}
	for key := range answered {
		if err := s.Delete(t.Context(), key); err != nil {
			t.Fatal(err)
		}
	}
	for range filestore.Shards {
		if _, err := s.Sweep(t.Context(), 1000); err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range files(t, dir) {
		if !strings.Contains(filepath.ToSlash(path), "/"+filestore.QueueDir+"/") {
			t.Errorf("file that is left: %s", path)
		}
	}
}

// checkKilled compares what is stored with what was answered, and goes on from what it finds.
func checkKilled(t *testing.T, s *filestore.Store, answered, tried map[string]uint64) {
	t.Helper()
	want := make(map[string]int)
	for _, key := range keysOf(answered, tried) {
		rec, err := s.Load(t.Context(), key)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			t.Errorf("Load of %s: %v", key, err)
			continue
		}
		next, running := tried[key]
		if rec.Version != answered[key] && (!running || rec.Version != next) {
			t.Errorf("%s: got version %d, want %d as answered (or, being written %t, %d)", key, rec.Version,
				answered[key], running, next)
		}
		if err == nil {
			full := writerRecord(key, rec.Version)
			if !bytes.Equal(rec.Data, full.Data) || rec.Principal != full.Principal {
				t.Errorf("%s: the data is not that of version %d", key, rec.Version)
			}
			want[rec.Principal]++
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			if err := s.Touch(ctx, key, rec.Version, time.Now(), rec.ExpiresAt); err != nil {
				t.Errorf("Touch of %s: %v", key, err)
			}
			cancel()
		}
		answered[key] = rec.Version
		delete(tried, key)
	}
	for _, principal := range []string{"usera", "userb", "userc"} {
		if got := len(list(t, s.Principal(t.Context(), principal))); got != want[principal] {
			t.Errorf("Principal %s: got %d records, want %d", principal, got, want[principal])
		}
	}
}

func keysOf(maps ...map[string]uint64) []string {
	all := make(map[string]bool)
	var keys []string
	for _, m := range maps {
		for key := range m {
			if !all[key] {
				all[key] = true
				keys = append(keys, key)
			}
		}
	}
	return keys
}

// asNobody is what the child of TestDeniedToAnotherUser does.
func asNobody(what, dir string) error {
	ctx := context.Background()
	s, err := filestore.Open(dir, nil)
	if err != nil {
		return err
	}
	defer s.Close()
	if what == "create" {
		return s.Create(ctx, newRecord("key", "alice"))
	}
	rec, err := s.Load(ctx, "key")
	if what == "allowed" {
		if err == nil {
			err = s.Touch(ctx, "key", rec.Version, rec.LastSeenAt, rec.ExpiresAt)
		}
		return err
	}
	if err != nil && !errors.Is(err, os.ErrPermission) {
		return err
	}
	for name, err := range map[string]error{
		"Create":  s.Create(ctx, newRecord("key", "alice")),
		"Replace": s.Replace(ctx, newRecord("key", "alice"), rec.Version),
		"Touch":   s.Touch(ctx, "key", rec.Version, rec.LastSeenAt, rec.ExpiresAt),
		"Delete":  s.Delete(ctx, "key"),
	} {
		if !errors.Is(err, os.ErrPermission) || errors.Is(err, store.ErrNotFound) {
			return errors.Join(errors.New(name+": want an error of permission, got"), err)
		}
	}
	return nil
}
