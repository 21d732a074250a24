package session_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/hipflask/session"
)

// withDefaultStore makes a Manager without a Store, and closes it at the test's end.
func withDefaultStore(t *testing.T, keys ...string) *session.Manager {
	t.Helper()
	m, err := session.New(session.Config{SecretKey: keys[0], SecretKeyFallbacks: keys[1:]})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

func names(t *testing.T, dir string) (list []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

// Each application of a user has a folder of its own, whose name tells nothing of the key; a change of keys keeps it.
func TestDefaultStore(t *testing.T) { // not parallel: the environment
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	t.Setenv("STATE_DIRECTORY", "")
	if _, err := session.New(session.Config{SecretKey: secret, MaxBytes: -1}); err == nil || len(names(t, temp)) != 0 {
		t.Errorf("got %v and %q, want an error and nothing made", err, names(t, temp))
	}
	if os.TempDir() != temp {
		return // Windows
	}
	m := withDefaultStore(t, secret)
	first := names(t, temp)
	if len(first) != 1 || !regexp.MustCompile(`^hipflask-\d+-[0-9a-f]{16}$`).MatchString(first[0]) {
		t.Fatalf("got %q, want one folder named by user and fingerprint", first)
	}
	if info, err := os.Stat(filepath.Join(temp, first[0])); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("got %v, %v, want mode 0700", info.Mode(), err)
	}
	s, err := m.Load(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	setPlain(s)
	if err := s.Save(t.Context()); err != nil {
		t.Fatal(err)
	}

	// Another process with the same key, and one with a new key and this one for a fallback, see the session.
	const next = "next-Hc8Vx2KqT5nWz9RbJd4MyL7s"
	for _, keys := range [][]string{{secret}, {next, secret}, {next, "between-Qm3Zt8XwK5vRc9NbL2Hj7Dg", secret}} {
		if got, err := withDefaultStore(t, keys...).Load(t.Context(), s.Token()); err != nil || !slices.Equal(got.Keys(), []string{"color"}) {
			t.Errorf("%d keys: got %v, want the session", len(keys), err)
		}
	}
	if got := names(t, temp); !slices.Equal(got, first) {
		t.Errorf("got %q, want the same folder", got)
	}
	withDefaultStore(t, next)
	if got := names(t, temp); len(got) != 2 {
		t.Errorf("got %q, want a folder for the other application", got)
	}

	// A folder that cannot be had is a clear error, without the key.
	if err := os.Chmod(filepath.Join(temp, first[0]), 0o777); err != nil {
		t.Fatal(err)
	}
	if m, err := session.New(session.Config{SecretKey: secret}); err == nil {
		m.Close()
		t.Error("a folder that everybody can write to: taken")
	} else if text := err.Error(); !strings.Contains(text, "Config.Store") || strings.Contains(text, secret) {
		t.Errorf("got %q, want it to name Config.Store as the way out", text)
	}
}

// systemd.exec(5), StateDirectory=: a list, separated by colons.
func TestDefaultStoreUnderSystemd(t *testing.T) { // not parallel: the environment
	temp, state := t.TempDir(), t.TempDir()
	t.Setenv("TMPDIR", temp)
	t.Setenv("STATE_DIRECTORY", state+":"+t.TempDir())
	withDefaultStore(t, secret)
	if got := names(t, state); !slices.Equal(got, []string{"sessions"}) || len(names(t, temp)) != 0 {
		t.Errorf("got %q in the state directory, want sessions, and nothing elsewhere", got)
	}
}
