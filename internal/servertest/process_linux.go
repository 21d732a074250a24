package servertest

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// starter is the thread that starts all processes: a parent's death signal comes when that thread ends, not the process
// (golang/go#27505).
var starter = sync.OnceValue(func() chan<- func() {
	jobs := make(chan func())
	go func() {
		runtime.LockOSThread()
		for job := range jobs {
			job()
		}
	}()
	return jobs
})

// startProcess starts cmd, as another user if root runs the tests and name isn't "". It ends with this process.
func startProcess(cmd *exec.Cmd, name string) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if uid, gid, err := ids(name); err != nil {
		return err
	} else if uid >= 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	}
	result := make(chan error)
	starter() <- func() { result <- cmd.Start() }
	return <-result
}

// ids returns the numbers of the user who runs a server; -1: the one who runs the tests.
func ids(name string) (uid, gid int, err error) {
	if name == "" || os.Getuid() != 0 {
		return -1, -1, nil
	}
	u, err := user.Lookup(name)
	if err != nil {
		return 0, 0, err
	}
	if uid, err = strconv.Atoi(u.Uid); err != nil {
		return 0, 0, err
	}
	gid, err = strconv.Atoi(u.Gid)
	return uid, gid, err
}

// giveTo makes name the owner of a file or folder.
func giveTo(path, name string) error {
	uid, gid, err := ids(name)
	if err != nil || uid < 0 {
		return err
	}
	return os.Chown(path, uid, gid)
}

// reachable says whether name can pass the folders above dir.
func reachable(dir, name string) error {
	if uid, _, err := ids(name); err != nil || uid < 0 {
		return err
	}
	for up := filepath.Dir(dir); up != filepath.Dir(up); up = filepath.Dir(up) {
		info, err := os.Stat(up)
		if err != nil {
			return err
		}
		if info.Mode()&0o001 == 0 {
			return fmt.Errorf("user %s, who has to run the server, can't enter %s: chmod o+x", name, up)
		}
	}
	return nil
}

func terminate(cmd *exec.Cmd) error { return cmd.Process.Signal(syscall.SIGTERM) }

func interrupt(cmd *exec.Cmd) error { return cmd.Process.Signal(syscall.SIGINT) }

// kill returns when all processes are gone: PostgreSQL doesn't start again while one of the old ones has its memory.
func kill(cmd *exec.Cmd) error {
	all := descendants(cmd.Process.Pid)
	for _, pid := range all {
		syscall.Kill(pid, syscall.SIGKILL)
	}
	for _, pid := range all {
		for deadline := time.Now().Add(Patience); !gone(pid); time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				return fmt.Errorf("process %d doesn't end within %v", pid, Patience)
			}
		}
	}
	return nil
}

// gone says whether a process has ended, whoever has yet to ask for its status.
func gone(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || strings.Contains("ZX", fields(stat)[0])
}

func pause(cmd *exec.Cmd, stop bool) error {
	signal := syscall.SIGCONT
	if stop {
		signal = syscall.SIGSTOP
	}
	for _, pid := range descendants(cmd.Process.Pid) {
		if err := syscall.Kill(pid, signal); err != nil && err != syscall.ESRCH {
			return err
		}
		for deadline := time.Now().Add(Patience); stop && !stopped(pid); time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				return fmt.Errorf("process %d doesn't stop within %v", pid, Patience)
			}
		}
	}
	return nil
}

// stopped tells whether all threads of a process stand still, which they do some time after the signal was sent.
func stopped(pid int) bool {
	stats, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/[0-9]*/stat", pid))
	for _, file := range stats {
		if stat, err := os.ReadFile(file); err == nil && !strings.Contains("TtZX", fields(stat)[0]) {
			return false
		}
	}
	return true
}

// fields returns what follows the name in a stat file: state, parent ... The name may contain anything.
func fields(stat []byte) []string {
	return strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
}

// descendants returns a process and all those below it. A process group isn't enough: PostgreSQL's have one each.
func descendants(root int) []int {
	below := map[int][]int{}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, file := range stats {
		stat, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended
		}
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if ppid, err := strconv.Atoi(fields(stat)[1]); err == nil {
			below[ppid] = append(below[ppid], pid)
		}
	}
	all := []int{root}
	for i := 0; i < len(all); i++ {
		all = append(all, below[all[i]]...)
	}
	return all
}
