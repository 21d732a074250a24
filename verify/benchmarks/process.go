package main

import (
	"bytes"
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

// secretKey is that of all servers.
var secretKey = session.NewSecretKey()

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
	p.cmd.Env = append(p.cmd.Environ(), "SECRET_KEY="+secretKey)
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

// python makes a virtual environment with exactly what apps/requirements.txt says, and returns its interpreter.
func python() (string, error) {
	venv := filepath.Join(folder(), "apps", ".venv")
	interpreter := filepath.Join(venv, "bin", "python")
	return interpreter, install("requirements.txt", venv,
		[]string{"python3", "-m", "venv", "--clear", venv},
		[]string{interpreter, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps",
			"-r", "requirements.txt"},
	)
}

// node installs exactly what apps/package-lock.json says.
func node() error {
	return install("package-lock.json", filepath.Join(folder(), "apps", "node_modules"),
		[]string{"npm", "ci", "--no-audit", "--no-fund", "--silent"})
}

// install runs commands that fill a folder with what a file demands, once for each content of the file.
func install(file, dir string, commands ...[]string) error {
	wanted, err := os.ReadFile(filepath.Join(folder(), "apps", file))
	if err != nil {
		return err
	}
	done := filepath.Join(dir, ".installed")
	if made, err := os.ReadFile(done); err == nil && bytes.Equal(made, wanted) {
		return nil
	}
	for _, args := range commands {
		cmd := exec.Command(args[0], args[1:]...)
		cmd.Dir = filepath.Join(folder(), "apps")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%q: %w: %s", args, err, out)
		}
	}
	return os.WriteFile(done, wanted, 0o600)
}
