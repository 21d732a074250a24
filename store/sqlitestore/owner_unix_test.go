//go:build unix

package sqlitestore_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hipflask/session/store/sqlitestore"
)

// Open refuses what another user owns or may replace, and makes no file there.
func TestOpenRefusesOthersFiles(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("needs root, to give files away")
	}
	const nobody = 65534
	give := func(end string) func(string) error {
		return func(path string) error {
			return errors.Join(os.WriteFile(path+end, nil, 0o600), os.Chown(path+end, nobody, nobody))
		}
	}
	folder := func(owner int, mode os.FileMode) func(string) error {
		return func(path string) error {
			return errors.Join(os.Chown(filepath.Dir(path), owner, owner), os.Chmod(filepath.Dir(path), mode))
		}
	}
	for name, c := range map[string]struct {
		prepare func(path string) error
		want    string // "": Open succeeds
	}{
		"the file":                {give(""), "belongs to user 65534"},
		"the log":                 {give("-wal"), "belongs to user 65534"},
		"the index":               {give("-shm"), "belongs to user 65534"},
		"the journal":             {give("-journal"), "belongs to user 65534"},
		"the folder":              {folder(nobody, 0o700), "belongs to user 65534"},
		"a folder all may write":  {folder(0, 0o777), "mode 0777"},
		"a sticky folder":         {folder(0, 0o777|os.ModeSticky), ""},
		"another's sticky folder": {folder(nobody, 0o777|os.ModeSticky), "belongs to user 65534"},
		"a file all may write": {func(path string) error {
			return errors.Join(os.WriteFile(path, nil, 0o600), os.Chmod(path, 0o666))
		}, "mode 0666"},
		"a file all may read": {func(path string) error {
			return errors.Join(os.WriteFile(path, nil, 0o600), os.Chmod(path, 0o644))
		}, ""},
		"a link to another's file": {func(path string) error {
			return errors.Join(give("-target")(path), os.Symlink(path+"-target", path))
		}, "belongs to user 65534"},
		"a link into another's folder": {func(path string) error {
			other := t.TempDir()
			return errors.Join(os.WriteFile(other+"/x", nil, 0o600), os.Chown(other, nobody, nobody),
				os.Symlink(other+"/x", path))
		}, "belongs to user 65534"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := file(t)
			if err := c.prepare(path); err != nil {
				t.Fatal(err)
			}
			before, err := os.ReadDir(filepath.Dir(path))
			if err != nil {
				t.Fatal(err)
			}
			s, err := sqlitestore.Open(t.Context(), "sqlite:"+path, nil)
			if err == nil {
				s.Close()
			}
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("Open: got error %v, want %q", err, c.want)
			}
			if after, err := os.ReadDir(filepath.Dir(path)); c.want != "" && (err != nil || len(after) != len(before)) {
				t.Errorf("Open refused, and left %d files (error %v), want %d", len(after), err, len(before))
			}
		})
	}
}
