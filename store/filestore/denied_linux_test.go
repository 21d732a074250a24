package filestore_test

import (
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"unsafe"

	"github.com/hipflask/session/store/filestore"
)

const nobody = 65534

// denials are ways in which a process may lose its access to a file of the folder, and how that ends.
var denials = map[string]struct {
	deny, allow func(path string) error
	reads       bool // the file can still be read
}{
	"mode 0400": {chmod(0o400), chmod(0o600), true},
	"mode 0200": {chmod(0o200), chmod(0o600), false},
	"mode 0":    {chmod(0), chmod(0o600), false},
	"another owner": {func(path string) error { return os.Chown(path, nobody, nobody) }, func(path string) error {
		return os.Chown(path, os.Geteuid(), os.Getegid())
	}, false},
	"another owner whose group may read": {
		func(path string) error {
			return errors.Join(os.Chown(path, nobody, os.Getegid()), os.Chmod(path, 0o640))
		},
		func(path string) error { return os.Chown(path, os.Geteuid(), os.Getegid()) }, true,
	},
	"an access list that lets us read": {
		func(path string) error {
			return errors.Join(os.Chmod(path, 0o600), setACL(path, uint32(os.Geteuid()), 4),
				os.Chown(path, nobody, nobody))
		},
		func(path string) error { return os.Chown(path, os.Geteuid(), os.Getegid()) }, true,
	},
	"immutable": {func(path string) error { return setFlag(path, immutable) }, func(path string) error {
		return setFlag(path, 0)
	}, true},
	"append only": {func(path string) error { return setFlag(path, appendOnly) }, func(path string) error {
		return setFlag(path, 0)
	}, true},
}

func chmod(mode os.FileMode) func(string) error {
	return func(path string) error { return os.Chmod(path, mode) }
}

const (
	immutable  = 0x10
	appendOnly = 0x20
	getFlags   = 0x80086601
	setFlags   = 0x40086602
)

// setFlag does what chattr does, see ioctl_iflags(2).
func setFlag(path string, flag uint32) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	var flags uint64
	if _, _, err := syscall.Syscall(syscall.SYS_IOCTL, f.Fd(), getFlags, uintptr(unsafe.Pointer(&flags))); err != 0 {
		return err
	}
	flags = flags&^(immutable|appendOnly) | uint64(flag)
	if _, _, err := syscall.Syscall(syscall.SYS_IOCTL, f.Fd(), setFlags, uintptr(unsafe.Pointer(&flags))); err != 0 {
		return err
	}
	return nil
}

// setACL does what "setfacl -m u:UID:PERMISSIONS" does, see acl(5) and linux/posix_acl_xattr.h.
func setACL(path string, uid uint32, permissions uint16) error {
	const user, namedUser, group, mask, other, nobodyInParticular = 0x01, 0x02, 0x04, 0x10, 0x20, 0xffffffff
	acl := binary.LittleEndian.AppendUint32(nil, 2)
	for _, e := range []struct {
		tag, permissions uint16
		id               uint32
	}{
		{user, 6, nobodyInParticular}, {namedUser, permissions, uid}, {group, 0, nobodyInParticular},
		{mask, 6, nobodyInParticular},
		{other, 0, nobodyInParticular},
	} {
		acl = binary.LittleEndian.AppendUint16(acl, e.tag)
		acl = binary.LittleEndian.AppendUint16(acl, e.permissions)
		acl = binary.LittleEndian.AppendUint32(acl, e.id)
	}
	return syscall.Setxattr(path, "system.posix_acl_access", acl, 0)
}

// A session's file that this process may not open is an outage, never a logout: as long as the file is there, so is the
// session. What needs no access to the file works.
func TestDeniedFile(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("needs root, to change owners")
	}
	for name, denial := range denials {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			asOwner(t, func() {
				dir := t.TempDir() + "/s"
				s := open(t, dir, nil)
				rec := newRecord("key", "alice")
				create(t, s, rec)
				neighbour := newRecord("neighbour", "alice")
				create(t, s, neighbour)
				path := filepath.Join(dir, filestore.PathOf("key"))
				if err := denial.deny(path); errors.Is(err, syscall.ENOTSUP) || errors.Is(err, syscall.ENOTTY) {
					t.Skipf("this file system can't do it: %v", err)
				} else if err != nil {
					t.Errorf("deny access: %v", err)
					return
				}
				s.WalkFrom("key")
				for name, call := range calls(s, rec) {
					err := call(t.Context())
					if reads := name == "Load" || name == "Principal" || name == "All" ||
						name == "Sweep"; reads && denial.reads {
						if err != nil {
							t.Errorf("%s: %v", name, err)
						}
						continue
					}
					outage(t, name, err)
					if !errors.Is(err, os.ErrPermission) {
						t.Errorf("%s: got error %v, want one of permission", name, err)
					}
				}
				// Whoever ends all sessions of a principal reaches those that can be reached.
				reached := false
				for rec := range s.Principal(t.Context(), "alice") {
					reached = reached || rec.Key == "neighbour"
				}
				if !reached {
					t.Error("Principal has not yielded the session beside the one that can't be opened")
				}
				same(t, load(t, s, "neighbour"), neighbour)
				if err := denial.allow(path); err != nil {
					t.Errorf("allow access: %v", err)
					return
				}
				same(t, load(t, s, "key"), rec)
				same(t, load(t, s, "key"), rec)
				replace(t, s, rec)
			})
		})
	}
}

// So it is with an expired session's file: Sweep says that it could not be removed, and removes the others.
func TestSweepOfDeniedFile(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("needs root, to change owners")
	}
	for name, denial := range denials {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			asOwner(t, func() {
				dir := t.TempDir() + "/s"
				s := open(t, dir, nil)
				for _, key := range []string{"a", "b", "c"} {
					rec := newRecord(key, "alice")
					rec.ExpiresAt = rec.CreatedAt.Add(-1)
					create(t, s, rec)
				}
				path := filepath.Join(dir, filestore.PathOf("b"))
				if err := denial.deny(path); errors.Is(err, syscall.ENOTSUP) || errors.Is(err, syscall.ENOTTY) {
					t.Skipf("this file system can't do it: %v", err)
				} else if err != nil {
					t.Errorf("deny access: %v", err)
					return
				}
				if n, err := s.Sweep(t.Context(), 10); n != 2 || !errors.Is(err, os.ErrPermission) {
					t.Errorf("Sweep: got %d removed and error %v, want 2 and one of permission", n, err)
				}
				if err := denial.allow(path); err != nil {
					t.Errorf("allow access: %v", err)
					return
				}
				sweep(t, s, 10, 1)
			})
		})
	}
}

// A folder within the store's folder, or that itself, that this process may not enter or write to, is an outage too.
func TestDeniedFolder(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("needs root, to change owners")
	}
	for name, deny := range map[string]func(path string) error{
		"mode 0":        chmod(0),
		"mode 0600":     chmod(0o600), // names can be read, files can't be reached
		"another owner": func(path string) error { return os.Chown(path, nobody, nobody) },
	} {
		for _, sub := range []string{"", "sessions", filepath.Dir(filestore.PathOf("key"))} {
			t.Run(name+" of "+sub, func(t *testing.T) {
				t.Parallel()
				asOwner(t, func() {
					dir := t.TempDir() + "/s"
					s := open(t, dir, nil)
					rec := newRecord("key", "alice")
					create(t, s, rec)
					path := filepath.Join(dir, sub)
					if err := deny(path); err != nil {
						t.Error(err)
						return
					}
					s.WalkFrom("key")
					for name, call := range calls(s, rec) {
						outage(t, name, call(t.Context()))
					}
					if err := errors.Join(os.Chown(path, os.Geteuid(), os.Getegid()),
						os.Chmod(path, 0o700)); err != nil {
						t.Error(err)
						return
					}
					same(t, load(t, s, "key"), rec)
				})
			})
		}
	}
}

// The same as another user than root, from whom the administrator has taken the files.
func TestDeniedToAnotherUser(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("needs root, to become another user")
	}
	dir, err := os.MkdirTemp("", "nobody")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chown(dir, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	run := func(what string) {
		t.Helper()
		cmd := exec.Command("/proc/self/exe")
		cmd.Dir = "/"
		cmd.Env = append(os.Environ(), "FILESTORE_CHILD="+what, "FILESTORE_DIR="+dir)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s as nobody: %v\n%s", what, err, out)
		}
	}
	run("create")
	path := filepath.Join(dir, filestore.PathOf("key"))
	for name, deny := range map[string]func() error{
		"the file's owner": func() error { return os.Chown(path, 0, 0) },
		"the owner, group may read": func() error {
			return errors.Join(os.Chown(path, 0, nobody), os.Chmod(path, 0o640))
		},
		"the shard's owner":   func() error { return os.Chown(filepath.Dir(path), 0, 0) },
		"the sessions' owner": func() error { return os.Chown(filepath.Join(dir, "sessions"), 0, 0) },
		"an access list":      func() error { return errors.Join(os.Chown(path, 0, 0), setACL(path, nobody, 4)) },
	} {
		if err := deny(); errors.Is(err, syscall.ENOTSUP) {
			continue
		} else if err != nil {
			t.Fatal(err)
		}
		t.Log(name)
		run("denied")
		for _, p := range []string{path, filepath.Dir(path), filepath.Join(dir, "sessions")} {
			if err := os.Chown(p, nobody, nobody); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Chmod(path, 0o600); err != nil {
			t.Fatal(err)
		}
		run("allowed")
	}
}

// A folder that was unmounted is not the empty one below it; mounted again, it is back.
func TestFolderUnmounted(t *testing.T) {
	t.Parallel()
	parent := filepath.Join(t.TempDir(), "parent")
	disk, dir := filepath.Join(filepath.Dir(parent), "disk"), filepath.Join(parent, "s")
	for _, d := range []string{parent, disk, dir} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	mount := func() error { return syscall.Mount(disk, dir, "", syscall.MS_BIND, "") }
	unmount := func() error { return syscall.Unmount(dir, syscall.MNT_DETACH) }
	if err := mount(); err != nil {
		t.Skipf("needs root, to mount a folder: %v", err)
	}
	t.Cleanup(func() { unmount() })
	testAway(t, open(t, dir, nil), dir, unmount, mount)
}
