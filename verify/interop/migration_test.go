package interop

import (
	"bufio"
	"net/http/cookiejar"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestMigrationExample runs examples/flask-migration as a person does.
func TestMigrationExample(t *testing.T) {
	t.Parallel()
	program := filepath.Join(t.TempDir(), "flask-migration")
	if out, err := exec.Command("go", "build", "-o", program,
		"github.com/hipflask/session/examples/flask-migration").CombinedOutput(); err != nil {
		t.Fatalf("build: %v: %s", err, out)
	}
	cmd := exec.Command(program, "-addr", "127.0.0.1:0", "-python", python)
	out, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(os.Interrupt) // so that it stops Flask too
		cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	found := regexp.MustCompile(`open (http://\S+)/`).FindStringSubmatch(line)
	if found == nil {
		t.Fatalf("it said %q, %v", line, err)
	}

	s := &site{t: t, base: found[1]}
	if s.Jar, err = cookiejar.New(nil); err != nil {
		t.Fatal(err)
	}
	page := func(path string, wants ...string) {
		t.Helper()
		body := s.get(path)
		for _, want := range wants {
			if !strings.Contains(body, want) {
				t.Errorf("%s lacks %q: %s", path, want, body)
			}
		}
	}
	page("/", "This page is Flask", "You are not logged in")
	page("/account", "This page is Flask", "You are not logged in")
	for _, logout := range []string{"/account/logout", "/logout"} {
		s.post("/login", 200, "username", "ann")
		page("/account", "This page is Go", "Logged in as ann")
		page("/", "This page is Flask", "Logged in as ann")
		s.post(logout, 200)
		page("/account", "You are not logged in")
	}
}
