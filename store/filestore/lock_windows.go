package filestore

import (
	"golang.org/x/sys/windows"
)

// lockAt is the position of the byte that is locked. On Windows others can't read a locked byte, so the position is
// beyond the end of every file.
const lockAt = 1 << 62

// tryLock takes the lock if nobody has it, or if those who have it share it. It belongs to this opening of the file.
func (f file) tryLock(exclusive bool) (bool, error) {
	at := &windows.Overlapped{OffsetHigh: lockAt >> 32}
	h := windows.Handle(f.Fd())
	// On Windows a handle's own shared lock can't be made exclusive, so it is released first.
	windows.UnlockFileEx(h, 0, 1, 0, at)
	flags := uint32(windows.LOCKFILE_FAIL_IMMEDIATELY)
	if exclusive {
		flags |= windows.LOCKFILE_EXCLUSIVE_LOCK
	}
	err := windows.LockFileEx(h, flags, 0, 1, 0, at)
	if err == windows.ERROR_LOCK_VIOLATION || err == windows.ERROR_IO_PENDING {
		return false, nil
	}
	return err == nil, err
}

// links returns how many names the file has.
func (f file) links() (int, error) {
	var info windows.ByHandleFileInformation
	err := windows.GetFileInformationByHandle(windows.Handle(f.Fd()), &info)
	return int(info.NumberOfLinks), err
}
