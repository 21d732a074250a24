package interop

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/hipflask/session/internal/servertest"
)

// python is the interpreter of a virtual environment with exactly what requirements.txt says.
var python string

func TestMain(m *testing.M) {
	var err error
	if python, err = environment(); err != nil {
		fmt.Fprintln(os.Stderr, "interop:", err)
		os.Exit(1)
	}
	servertest.Main(m)
}

// overlay installs versions/NAME over the environment, once for each content of its requirements.txt, and returns what
// the Python process needs in its own environment. Only what differs is there: Python finds it first.
func overlay(t *testing.T, name string) (env []string) {
	t.Helper()
	requirements := filepath.Join("versions", name, "requirements.txt")
	dir, err := installed(python, requirements, filepath.Join(".venv", "over-"+name))
	if err != nil {
		t.Fatal(err)
	}
	return []string{"PYTHONPATH=" + dir}
}

// installed returns a folder with what a file of requirements says, for an interpreter.
func installed(interpreter, requirements, dir string) (string, error) {
	wanted, err := os.ReadFile(requirements)
	if err != nil {
		return "", err
	}
	dir, err = filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	done := filepath.Join(dir, "requirements")
	if made, err := os.ReadFile(done); err == nil && string(made) == string(wanted) {
		return dir, nil
	}
	if err := os.RemoveAll(dir); err != nil {
		return "", err
	}
	args := []string{"-m", "pip", "--python", interpreter, "install", "--quiet", "--disable-pip-version-check",
		"--no-deps",
		"--no-compile", "--target", dir, "-r", requirements}
	if out, err := exec.Command(python, args...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("%q: %v: %s", args, err, out)
	}
	return dir, os.WriteFile(done, wanted, 0o600)
}

// environment makes .venv, once for each content of requirements.txt.
func environment() (string, error) {
	wanted, err := os.ReadFile("requirements.txt")
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(wanted)
	stamp := hex.EncodeToString(sum[:])
	bin := filepath.Join(".venv", "bin", "python")
	if runtime.GOOS == "windows" {
		bin = filepath.Join(".venv", "Scripts", "python.exe")
	}
	done := filepath.Join(".venv", "requirements")
	if made, err := os.ReadFile(done); err == nil && string(made) == stamp {
		return bin, nil
	}
	for _, args := range [][]string{
		{"python3", "-m", "venv", "--clear", ".venv"},
		{bin, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "-r", "requirements.txt"},
	} {
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			return "", fmt.Errorf("%q: %v: %s", args, err, out)
		}
	}
	return bin, os.WriteFile(done, []byte(stamp), 0o600)
}

// child is a Python process that lives as long as its test.
type child struct {
	t    servertest.TB
	in   *json.Encoder
	out  *bufio.Reader
	logs *tail
}

func start(t *testing.T, env []string, args ...string) *child {
	t.Helper()
	c := begin(t, env, args...)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%s said: %s", args[0], c.logs.text)
		}
	})
	return c
}

// begin starts a process that ends with tb.
func begin(tb servertest.TB, env []string, args ...string) *child {
	tb.Helper()
	interpreter := python
	for _, e := range env {
		if path, ok := strings.CutPrefix(e, "PYTHON="); ok {
			interpreter = path
		}
	}
	cmd := exec.Command(interpreter, args...)
	cmd.Env = append(os.Environ(), append(env, "PYTHONUNBUFFERED=1")...)
	in, err := cmd.StdinPipe()
	if err != nil {
		tb.Fatalf("%v", err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		tb.Fatalf("%v", err)
	}
	logs := &tail{}
	cmd.Stderr = logs
	if err := cmd.Start(); err != nil {
		tb.Fatalf("%v", err)
	}
	tb.Cleanup(func() {
		in.Close()
		cmd.Process.Kill()
		cmd.Wait()
	})
	return &child{tb, json.NewEncoder(in), bufio.NewReaderSize(out, 1<<20), logs}
}

// tail keeps the end of what a process says.
type tail struct{ text []byte }

func (l *tail) Write(p []byte) (int, error) {
	l.text = append(l.text, p...)
	l.text = l.text[max(0, len(l.text)-4096):]
	return len(p), nil
}

func (c *child) line() []byte {
	c.t.Helper()
	line, err := c.out.ReadBytes('\n')
	if err != nil && err != io.EOF || len(line) == 0 {
		c.t.Fatalf("the Python process ended: %v: %s", err, c.logs.text)
	}
	return line
}

type answer struct{ Cookie, Text *string }

func (c *child) ask(request map[string]any) (a answer) {
	c.t.Helper()
	if err := c.in.Encode(request); err != nil {
		c.t.Fatalf("%v", err)
	}
	if err := json.Unmarshal(c.line(), &a); err != nil {
		c.t.Fatalf("%v", err)
	}
	return a
}
