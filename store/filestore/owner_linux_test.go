package filestore_test

import (
	"os"
	"runtime"
	"syscall"
	"testing"
	"unsafe"
)

// asOwner calls f as a user for whom modes count, the owner of the files it makes. Root is one after giving up, for the
// thread that f runs on, the capabilities to pass over modes.
func asOwner(t *testing.T, f func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		f()
		return
	}
	done := make(chan bool)
	go func() {
		defer func() { done <- true }() // after FailNow, too
		runtime.LockOSThread()          // and never unlocked: the thread ends with the goroutine
		if err := dropOverride(); err != nil {
			t.Errorf("give up capabilities: %v", err)
			return
		}
		f()
	}()
	<-done
}

// dropOverride gives up CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH, see capset(2).
func dropOverride() error {
	head := struct {
		version uint32
		pid     int32
	}{version: 0x20080522}
	var data [2]struct{ effective, permitted, inheritable uint32 }
	if _, _, err := syscall.RawSyscall(syscall.SYS_CAPGET, uintptr(unsafe.Pointer(&head)),
		uintptr(unsafe.Pointer(&data)), 0); err != 0 {
		return err
	}
	data[0].effective &^= 1<<1 | 1<<2
	if _, _, err := syscall.RawSyscall(syscall.SYS_CAPSET, uintptr(unsafe.Pointer(&head)),
		uintptr(unsafe.Pointer(&data)), 0); err != 0 {
		return err
	}
	return nil
}
