package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// The kinds of file systems in statfs(2) that behave otherwise than a disk.
var fileSystems = map[int64]finding{
	unix.NFS_SUPER_MAGIC: {problem, "disk", "this is a network file system (NFS): other machines' " +
		"changes may be seen late", "Use a local disk, or a server such as Redis for several machines."},
	unix.SMB2_SUPER_MAGIC: {problem, "disk", "this is a network file system (SMB)",
		"Use a local disk, or a server such as Redis for several machines."},
	unix.CIFS_SUPER_MAGIC: {problem, "disk", "this is a network file system (CIFS)",
		"Use a local disk, or a server such as Redis for several machines."},
	unix.TMPFS_MAGIC: {warning, "disk", "this is in memory (tmpfs): a restart of the machine " +
		"ends all sessions", "Choose a folder on a disk, if that matters."},
	unix.OVERLAYFS_SUPER_MAGIC: {warning, "disk", "this is a container's own file system: the sessions " +
		"end with the container", "Choose a folder on a volume, if that matters."},
}

// inspectFile looks at the disk that a folder or file is on.
func inspectFile(path string) (found []finding) {
	var s unix.Statfs_t
	if err := unix.Statfs(path, &s); err != nil {
		return unread(err)
	}
	if f, ok := fileSystems[int64(s.Type)]; ok {
		found = append(found, f)
	} else {
		found = append(found, finding{fine, "disk", "a local file system", ""})
	}
	free, inodes := s.Bavail*uint64(s.Bsize), s.Ffree
	text := fmt.Sprintf("%d MB and %d files more fit", free>>20, inodes)
	switch {
	case free < 100<<20 || s.Files > 0 && inodes < 10_000:
		found = append(found, finding{warning, "room", text, "When the disk is full, nobody can log in. Make room."})
	default:
		found = append(found, finding{fine, "room", text, ""})
	}
	if full, err := filepath.Abs(path); err == nil && strings.HasPrefix(full, os.TempDir()+"/") {
		found = append(found, finding{warning, "place", "it is in the folder for temporary files, which is cleaned " +
			"from time to time", "Under systemd use StateDirectory=, else a folder such as /var/lib/APPLICATION."})
	}
	return found
}
