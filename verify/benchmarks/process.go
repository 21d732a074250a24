package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"github.com/hipflask/session"
)

// process is a running server.
type process struct {
	url  string
	cmd  *exec.Cmd
	logs *tail
}

// start starts a server on a free port of loopback, to which command gives the address, and waits until it answers.
func start(command func(addr string) *exec.Cmd) (*process, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	addr := l.Addr().String()
	if err := l.Close(); err != nil {
		return nil, err
	}
	p := &process{url: "http://" + addr + "/", cmd: command(addr), logs: &tail{}}
	p.cmd.Stdout, p.cmd.Stderr = p.logs, p.logs
	p.cmd.Env = append(os.Environ(), "SECRET_KEY="+session.NewSecretKey())
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if res, err := http.Get(p.url); err == nil {
			return p, res.Body.Close()
		}
		if time.Now().After(deadline) {
			return nil, errors.Join(fmt.Errorf("no answer in 30 seconds: %s", p.logs.text), p.stop())
		}
	}
}

func (p *process) stop() error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	var exited *exec.ExitError
	if err := p.cmd.Wait(); err != nil && !errors.As(err, &exited) {
		return err
	}
	return nil
}

// tail keeps the end of what a process says.
type tail struct{ text []byte }

func (l *tail) Write(p []byte) (int, error) {
	l.text = append(l.text, p...)
	l.text = l.text[max(0, len(l.text)-4096):]
	return len(p), nil
}

// folder is where this program's source is.
func folder() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Dir(file)
}

// python makes a virtual environment with exactly what flaskapp/requirements.txt says, once for each content of that,
// and returns its interpreter.
func python() (string, error) {
	requirements := filepath.Join(folder(), "flaskapp", "requirements.txt")
	wanted, err := os.ReadFile(requirements)
	if err != nil {
		return "", err
	}
	venv := filepath.Join(folder(), ".venv")
	interpreter, done := filepath.Join(venv, "bin", "python"), filepath.Join(venv, "requirements")
	sum := sha256.Sum256(wanted)
	stamp := []byte(hex.EncodeToString(sum[:]))
	if made, err := os.ReadFile(done); err == nil && bytes.Equal(made, stamp) {
		return interpreter, nil
	}
	for _, args := range [][]string{
		{"python3", "-m", "venv", "--clear", venv},
		{interpreter, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps",
			"-r", requirements},
	} {
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			return "", fmt.Errorf("%q: %w: %s", args, err, out)
		}
	}
	return interpreter, os.WriteFile(done, stamp, 0o600)
}
