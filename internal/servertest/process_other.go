//go:build !linux

package servertest

import (
	"errors"
	"os"
	"os/exec"
)

// startProcess starts cmd as the user who runs the tests.
func startProcess(cmd *exec.Cmd, _ string) error { return cmd.Start() }

func giveTo(string, string) error { return nil }

func reachable(string, string) error { return nil }

func terminate(cmd *exec.Cmd) error { return cmd.Process.Signal(os.Interrupt) }

func interrupt(cmd *exec.Cmd) error { return terminate(cmd) }

func kill(cmd *exec.Cmd) error { return cmd.Process.Kill() }

func pause(*exec.Cmd, bool) error { return errors.New("only on Linux") }
