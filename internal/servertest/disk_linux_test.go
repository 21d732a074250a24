package servertest_test

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/hipflask/session/internal/servertest"
)

func TestDisk(t *testing.T) {
	t.Parallel()
	d := servertest.NewDisk(t, nil, "1m")
	file := filepath.Join(d.Dir, "file")
	write := func() error { return os.WriteFile(file, make([]byte, 10000), 0o600) }
	for range 2 {
		if err := write(); err != nil {
			t.Errorf("a write with room: got %v, want nil", err)
		}
		if err := errors.Join(os.Remove(file), d.Fill()); err != nil {
			t.Fatal(err)
		}
		if err := write(); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("a write on a full disk: got %v, want ENOSPC", err)
		}
		if err := d.Free(); err != nil {
			t.Fatal(err)
		}
	}
}
