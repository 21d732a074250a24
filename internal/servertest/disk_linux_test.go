package servertest_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"github.com/hipflask/session/internal/servertest"
)

// startProcesses starts one process after the other until stop is called.
func startProcesses(t *testing.T) (stop func()) {
	done := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if err := exec.Command("true").Run(); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	return func() {
		close(done)
		wg.Wait()
	}
}

func TestDisk(t *testing.T) {
	t.Parallel()
	d := servertest.NewDisk(t, nil, "1m")
	file := filepath.Join(d.Dir, "file")
	write := func() error {
		syscall.ForkLock.RLock() // as in Fill: the file's removal has to make room at once
		defer syscall.ForkLock.RUnlock()
		return os.WriteFile(file, make([]byte, 10000), 0o600)
	}
	// Servers that other tests start meanwhile must not delay the room that a removed file gives back.
	stop := startProcesses(t)
	defer stop()
	for range 20 {
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
