package browser

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coder/websocket"
)

// firefox is Debian's Firefox, driven by WebDriver BiDi (W3C), its own remote protocol.
type firefox struct {
	*testing.T
	conn *websocket.Conn
	tab  string // the browsing context
	last int    // number of the last command
}

// startFirefox starts a browser with a fresh profile that has these preferences.
func startFirefox(t *testing.T, preferences string) *firefox {
	t.Helper()
	profile := t.TempDir()
	if err := os.WriteFile(filepath.Join(profile, "user.js"), []byte(preferences), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, "firefox-esr", "--headless", "--no-remote", "--profile", profile,
		"--remote-debugging-port", "0")
	// the tests may run as root, in a container
	cmd.Env = append(os.Environ(), "HOME="+profile, "MOZ_DISABLE_CONTENT_SANDBOX=1")
	out, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("start Firefox: %v", err)
	}
	t.Cleanup(func() {
		cancel()
		cmd.Wait()
	})
	said, address := "", ""
	lines := bufio.NewScanner(out)
	for address == "" && lines.Scan() {
		said += lines.Text() + "\n"
		_, address, _ = strings.Cut(lines.Text(), "WebDriver BiDi listening on ")
	}
	if address == "" {
		t.Fatalf("Firefox ended; it said: %s", said)
	}
	go func() { // what it says from now on must not fill the pipe
		for lines.Scan() {
		}
	}()
	conn, _, err := websocket.Dial(t.Context(), address+"/session", nil)
	if err != nil {
		t.Fatal(err)
	}
	conn.SetReadLimit(-1)
	f := &firefox{T: t, conn: conn}
	f.command("session.new", map[string]any{"capabilities": map[string]any{}}, nil)
	var tree struct{ Contexts []struct{ Context string } }
	f.command("browsingContext.getTree", map[string]any{}, &tree)
	f.tab = tree.Contexts[0].Context
	return f
}

// command sends one, and reads its result.
func (f *firefox) command(method string, params map[string]any, result any) {
	f.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	f.last++
	data, err := json.Marshal(map[string]any{"id": f.last, "method": method, "params": params})
	if err != nil {
		f.Fatal(err)
	}
	if err := f.conn.Write(ctx, websocket.MessageText, data); err != nil {
		f.Fatalf("%s: %v", method, err)
	}
	for {
		_, data, err := f.conn.Read(ctx)
		if err != nil {
			f.Fatalf("%s: %v", method, err)
		}
		var answer struct {
			ID             int
			Error, Message string
			Result         json.RawMessage
		}
		if err := json.Unmarshal(data, &answer); err != nil {
			f.Fatalf("%s: %v", method, err)
		}
		switch {
		case answer.ID != f.last: // an event
			continue
		case answer.Error != "":
			f.Fatalf("%s: %s: %s", method, answer.Error, answer.Message)
		case result != nil:
			if err := json.Unmarshal(answer.Result, result); err != nil {
				f.Fatalf("%s: %v", method, err)
			}
		}
		return
	}
}

// address types a URL. It doesn't wait for the page.
func (f *firefox) address(url string) {
	f.Helper()
	f.command("browsingContext.navigate", map[string]any{"context": f.tab, "url": url, "wait": "none"}, nil)
}

// localNames returns the preference by which these hosts are this machine.
func localNames(names ...string) string {
	return fmt.Sprintf("user_pref(\"network.dns.localDomains\", %q);\n", strings.Join(names, ","))
}
