// Package more holds a test of all example programs: where they listen, and how they stop.
package more

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/hipflask/session"
)

// patience bounds what a test waits for; none waits until it is over.
const patience = time.Minute

// program is an example that runs.
type program struct {
	t    *testing.T
	addr string
	log  *bufio.Scanner
	cmd  *exec.Cmd
}

// start runs an example on a port of its own. Its sessions are in the folder dir, under a key that stays the same.
func start(t *testing.T, binary, dir, key string, args ...string) *program {
	t.Helper()
	cmd := exec.Command(binary, append([]string{"-addr", "127.0.0.1:0"}, args...)...)
	cmd.Env = append(os.Environ(), "TMPDIR="+dir, "STATE_DIRECTORY=", "SECRET_KEY="+key)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill := time.AfterFunc(patience, func() { cmd.Process.Kill() }) // its log ends then
	t.Cleanup(func() {
		kill.Stop()
		cmd.Process.Kill()
		cmd.Wait()
	})
	p := &program{t: t, cmd: cmd, log: bufio.NewScanner(stderr)}
	line := p.logged("listening on ")
	_, p.addr, _ = strings.Cut(line, "listening on ")
	p.addr = strings.TrimSuffix(strings.TrimPrefix(p.addr, "http://"), "/")
	return p
}

// logged returns the next line that contains text.
func (p *program) logged(text string) string {
	p.t.Helper()
	for p.log.Scan() {
		if strings.Contains(p.log.Text(), text) {
			return p.log.Text()
		}
	}
	p.t.Fatalf("it ended, or took %v, before it logged %q", patience, text)
	return ""
}

// stop tells the program to stop, and returns when it accepts no more requests.
func (p *program) stop() {
	p.t.Helper()
	p.signal()
	p.logged(http.ErrServerClosed.Error())
}

func (p *program) signal() {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatal(err)
	}
}

// ended waits for the program's end.
func (p *program) ended() {
	p.t.Helper()
	for p.log.Scan() {
	}
	if err := p.cmd.Wait(); err != nil {
		p.t.Errorf("it ended with %v, want status 0", err)
	}
}

func get(t *testing.T, c *http.Client, method, url string) *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { res.Body.Close() })
	return res
}

// posts are requests whose handlers read a body and change a session; want is in the response that says so.
var posts = map[string]struct{ path, kind, body, want string }{
	"actas":   {"/login", "application/x-www-form-urlencoded", "name=ann", "Set-Cookie: session="},
	"connect": {"/example.Notes/Login", "application/json", `"correct horse"`, "200 OK"},
	"jsonapi": {"/login", "application/json", `{"user":"ann","password":"correct horse"}`, `{"token":"`},
	"password": {"/login", "application/x-www-form-urlencoded", "name=ann&password=correct+horse",
		"Set-Cookie: session="},
	"testing": {"/cart", "application/x-www-form-urlencoded", "thing=milk", "Set-Cookie: session="},
}

// Each example listens where -addr says. At SIGTERM it lets the requests in flight finish, and closes its sessions
// after that: a login whose body arrives when the server has stopped listening is still stored.
func TestStop(t *testing.T) {
	t.Parallel()
	bin := t.TempDir()
	names := []string{"actas", "countdown", "jsonapi", "oauth", "password", "sse", "testing"}
	here := []string{"connect", "fromgorilla", "fromscs", "grpc", "websocket"}
	build := []string{"build", "-ldflags=-s -w", "-o", bin + "/"}
	for _, name := range names {
		build = append(build, "../"+name)
	}
	for _, name := range here {
		build = append(build, "./"+name)
	}
	if out, err := exec.Command("go", build...).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, name := range append(names, here...) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			binary, dir, key := filepath.Join(bin, name), t.TempDir(), session.NewSecretKey()
			switch name {
			case "sse":
				stopStream(t, binary, dir, key)
			case "websocket":
				stopSocket(t, binary, dir, key)
			case "grpc":
				p := start(t, binary, dir, key)
				conn, err := net.DialTimeout("tcp", p.addr, patience)
				if err != nil {
					t.Fatal(err)
				}
				conn.Close()
				p.signal()
				p.ended()
			case "oauth":
				stopIdle(t, start(t, binary, dir, key, "http://127.0.0.1/a", "http://127.0.0.1/t",
					"http://127.0.0.1/u"))
			default:
				p := start(t, binary, dir, key)
				if _, ok := posts[name]; ok {
					stopPost(t, p, name)
				} else {
					stopIdle(t, p)
				}
			}
		})
	}
}

func stopIdle(t *testing.T, p *program) {
	if res := get(t, http.DefaultClient, "GET", "http://"+p.addr+"/"); res.StatusCode != http.StatusOK {
		t.Errorf("got %d, want 200", res.StatusCode)
	}
	p.signal() // nothing is in flight, so it may end before it logs that the server is closed
	p.ended()
}

func stopPost(t *testing.T, p *program, name string) {
	post := posts[name]
	conn, err := net.DialTimeout("tcp", p.addr, patience)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\nExpect: 100-continue\r\n"+
		"Content-Type: %s\r\nContent-Length: %d\r\n\r\n", post.path, p.addr, post.kind, len(post.body))
	response := bufio.NewReader(conn)
	// it reads the body
	if line, err := response.ReadString('\n'); !strings.Contains(line, "100 Continue") || err != nil {
		t.Fatalf("got %q, %v, want 100 Continue", line, err)
	}
	p.stop()
	io.WriteString(conn, post.body)
	rest, err := io.ReadAll(response)
	if err != nil || !strings.Contains(string(rest), post.want) {
		t.Errorf("got response %q, %v, want %q", rest, err, post.want)
	}
	p.ended()
}

func newBrowser(t *testing.T) *http.Client {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &http.Client{Jar: jar}
}

// What a stream changed until the server stopped is there after a restart.
func stopStream(t *testing.T, binary, dir, key string) {
	browser := newBrowser(t)
	last := 0
	for run := range 2 {
		p := start(t, binary, dir, key)
		if run == 0 {
			get(t, browser, "POST", "http://"+p.addr+"/login")
		}
		events := bufio.NewScanner(get(t, browser, "GET", "http://"+p.addr+"/events").Body)
		stopped := false
		for events.Scan() {
			n := 0
			if _, err := fmt.Sscanf(events.Text(), "data: %d", &n); err != nil {
				continue
			}
			if n != last+1 {
				t.Errorf("got event %d after %d", n, last)
			}
			last = n
			if !stopped {
				p.stop()
				stopped = true
			}
		}
		if err := events.Err(); err != nil || !stopped {
			t.Errorf("the stream ended with %v", err)
		}
		p.ended()
	}
}

// What a socket changed until the server stopped is there after a restart.
func stopSocket(t *testing.T, binary, dir, key string) {
	browser := newBrowser(t)
	for n := 1; n <= 2; n++ {
		p := start(t, binary, dir, key)
		if n == 1 {
			get(t, browser, "POST", "http://"+p.addr+"/login")
		}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		socket, _, err := websocket.Dial(ctx, "http://"+p.addr+"/chat", &websocket.DialOptions{HTTPClient: browser})
		if err != nil {
			t.Fatal(err)
		}
		defer socket.CloseNow()
		if err := socket.Write(ctx, websocket.MessageText, []byte("hello")); err != nil {
			t.Fatal(err)
		}
		want := fmt.Sprintf("ann, message %d: hello", n)
		if _, got, err := socket.Read(ctx); string(got) != want || err != nil {
			t.Errorf("got %q, %v, want %q", got, err, want)
		}
		p.stop()
		if _, _, err := socket.Read(ctx); websocket.CloseStatus(err) != websocket.StatusGoingAway {
			t.Errorf("the socket ended with %v, want %v", err, websocket.StatusGoingAway)
		}
		p.ended()
	}
}
