package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hipflask/session/verify/benchmarks/measure"
)

// connections is how many of them wrk holds open. Each brings the cookie of another user in each request.
const connections = 32

// load is what wrk asks of a server: its home page.
type load struct {
	name    string
	process *process
	cookies []string // Cookie headers of users who are logged in; nil: visitors
	script  string   // for wrk, with the cookies
	rate    []float64
}

// servers measures whole servers: the program of the README and the login example, each beside a bare server with the
// same page, and the latter beside the same application on Flask; first for visitors, then for users who are logged in,
// whose visits are counted.
func (b *bench) servers() (err error) {
	if _, err := exec.LookPath("wrk"); err != nil {
		return errors.New("wrk is missing: Debian's package wrk")
	}
	var running fleet
	defer func() { err = errors.Join(err, running.stop()) }()
	apps, err := b.apps()
	if err != nil {
		return err
	}
	t := table{head: []string{"home page of", "for", "requests per second", "of bare net/http", "range"}}
	for _, group := range apps {
		var loads []load
		for _, a := range group {
			p, err := running.start(a.command)
			if err != nil {
				return fmt.Errorf("%s: %w", a.name, err)
			}
			loads = append(loads, load{name: a.name, process: p})
		}
		for _, who := range []string{"a visitor", "a user"} {
			measured, err := b.group(&running, who, loads)
			if err != nil {
				return err
			}
			bare := measured[len(measured)-1].rate
			for _, l := range measured {
				share := measure.Quotient(l.rate, bare)
				t.add(l.name, who, fmt.Sprintf("%.0f", measure.Spread(l.rate).Median), ratio(share.Median),
					ratio(share.Low)+" to "+ratio(share.High))
			}
			b.rows = append(b.rows, row{
				target: target{measured[0].name + ", GET / of " + who, "bare net/http", 0.8, 0.9, 0}, more: true,
				ratio: measure.Quotient(measured[0].rate, bare),
				value: fmt.Sprintf("%.0f per s", measure.Spread(measured[0].rate).Median),
			})
		}
	}
	return b.publish("servers", "Whole servers", t)
}

// group measures servers that serve the same page, and as the last one a bare server with that page.
func (b *bench) group(running *fleet, who string, apps []load) ([]load, error) {
	loads := slices.Clone(apps)
	if who == "a user" {
		for i := range loads {
			if err := loads[i].logIn(b.dir); err != nil {
				return nil, fmt.Errorf("%s: %w", loads[i].name, err)
			}
		}
	}
	bare, err := b.startBare(running, &loads[0])
	if err != nil {
		return nil, err
	}
	loads = append(loads, bare)
	return loads, b.wrk(loads)
}

// wrk measures the loads in turns, and looks afterwards whether the visits were counted.
func (b *bench) wrk(loads []load) error {
	rounds, length := 7, time.Second
	if b.quick {
		rounds, length = 3, time.Second
	}
	for round := range min(rounds, b.plan.Rounds) {
		for k := range loads {
			l := &loads[(k+round)%len(loads)]
			rate, err := wrk(l.process.url, l.script, length)
			if err != nil {
				return fmt.Errorf("%s: %w", l.name, err)
			}
			l.rate = append(l.rate, rate)
		}
	}
	for _, l := range loads {
		if err := l.counted(); err != nil {
			return fmt.Errorf("%s: %w", l.name, err)
		}
	}
	return nil
}

// fleet is the processes to be stopped.
type fleet []*process

func (f *fleet) start(command func(addr string) *exec.Cmd) (*process, error) {
	p, err := start(command)
	if err == nil {
		*f = append(*f, p)
	}
	return p, err
}

func (f *fleet) stop() error {
	var errs []error
	for _, p := range *f {
		errs = append(errs, p.stop())
	}
	return errors.Join(errs...)
}

// app is a program to be started.
type app struct {
	name    string
	command func(addr string) *exec.Cmd
}

// apps builds the programs and returns them in groups with the same page.
func (b *bench) apps() ([][]app, error) {
	for _, program := range []string{"verify/benchmarks/readme", "examples/login", "verify/benchmarks/bare"} {
		if err := b.build(program); err != nil {
			return nil, err
		}
	}
	interpreter, err := python()
	if err != nil {
		return nil, err
	}
	program := func(name string, args ...string) func(addr string) *exec.Cmd {
		return func(addr string) *exec.Cmd {
			return exec.Command(filepath.Join(b.dir, name), append(args, "-addr", addr)...)
		}
	}
	flask := func(addr string) *exec.Cmd {
		cmd := exec.Command(interpreter, "-m", "gunicorn", "--bind", addr, "--worker-class", "gthread",
			"--workers", strconv.Itoa(runtime.NumCPU()), "--threads", "2", "app:app")
		cmd.Dir = filepath.Join(folder(), "flaskapp")
		return cmd
	}
	return [][]app{{
		{"README's program, memory", program("readme")},
		{"README's program, files", program("readme", "-dir", filepath.Join(b.dir, "readme-sessions"))},
	}, {
		{"login example, memory", program("login", "-store", "memory:")},
		{"login example, files", program("login", "-store", "file:"+filepath.Join(b.dir, "login-sessions"))},
		{"the same on Flask, gunicorn", flask},
	}}, nil
}

func (b *bench) build(program string) error {
	cmd := exec.Command("go", "build", "-o", b.dir+string(filepath.Separator), "github.com/hipflask/session/"+program)
	cmd.Dir = folder()
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build %s: %w: %s", program, err, out)
	}
	return nil
}

// startBare starts a server that answers with the page of another one, and sends it the same requests.
func (b *bench) startBare(running *fleet, like *load) (load, error) {
	page, header, err := like.page()
	if err != nil {
		return load{}, err
	}
	body := filepath.Join(b.dir, fmt.Sprintf("page%d.html", len(*running)))
	if err := os.WriteFile(body, []byte(page), 0o600); err != nil {
		return load{}, err
	}
	args := []string{"-body", body}
	for name, values := range header {
		switch name {
		case "Date", "Content-Length": // net/http's
		case "Set-Cookie", "Vary": // the session's
		default:
			args = append(args, "-header", name+": "+values[0])
		}
	}
	p, err := running.start(func(addr string) *exec.Cmd {
		return exec.Command(filepath.Join(b.dir, "bare"), append(args, "-addr", addr)...)
	})
	return load{name: "bare net/http, the same page", process: p, script: like.script}, err
}

// logIn makes the load one of users who are logged in, and looks whether they are.
func (l *load) logIn(dir string) error {
	var script strings.Builder
	script.WriteString("local cookies = {\n")
	for i := range connections {
		user := fmt.Sprintf("user-%d", i)
		cookie, err := l.process.logIn(user)
		if err != nil {
			return err
		}
		if slices.Contains(l.cookies, cookie) {
			return fmt.Errorf("%s got no session of its own", user)
		}
		l.cookies = append(l.cookies, cookie)
		page, _, err := l.get(cookie)
		if err != nil {
			return err
		}
		if !strings.Contains(strings.ReplaceAll(page, "<strong>", ""), "Logged in as "+user) || count(page) != 2 {
			return fmt.Errorf("%s is not logged in", user)
		}
		fmt.Fprintf(&script, "\t%q,\n", cookie)
	}
	// As few instructions for a request as wrk can do with: it shares the machine with the server.
	script.WriteString(`}
local requests, n = {}, 0
init = function()
	for i, cookie in ipairs(cookies) do
		requests[i] = wrk.format("GET", "/", {["Cookie"] = cookie})
	end
end
request = function()
	n = n + 1
	return requests[n % #requests + 1]
end
`)
	f, err := os.CreateTemp(dir, "wrk*.lua")
	if err != nil {
		return err
	}
	_, err = f.WriteString(script.String())
	l.script = f.Name()
	return errors.Join(err, f.Close())
}

// logIn returns the Cookie header after a login and a look at the page that follows it.
func (p *process) logIn(user string) (string, error) {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return "", err
	}
	client := http.Client{Jar: jar}
	res, err := client.PostForm(p.url+"login", url.Values{"username": {user}})
	if err != nil {
		return "", err
	}
	if err := res.Body.Close(); err != nil {
		return "", err
	}
	address, err := url.Parse(p.url)
	if err != nil {
		return "", err
	}
	var pairs []string
	for _, c := range jar.Cookies(address) {
		pairs = append(pairs, c.Name+"="+c.Value)
	}
	return strings.Join(pairs, "; "), nil
}

// page returns the home page as one of the requests gets it, and its header.
func (l *load) page() (string, http.Header, error) {
	if l.cookies == nil {
		return l.get("")
	}
	return l.get(l.cookies[0])
}

func (l *load) get(cookie string) (string, http.Header, error) {
	req, err := http.NewRequest(http.MethodGet, l.process.url, nil)
	if err != nil {
		return "", nil, err
	}
	if cookie != "" {
		req.Header.Set("Cookie", cookie)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", nil, err
	}
	defer res.Body.Close()
	page, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = errors.New(res.Status)
	}
	return string(page), res.Header, err
}

// counted looks whether a user's visits were counted on the server. In a cookie that wrk sends again and again they
// can't be.
func (l *load) counted() error {
	if l.cookies == nil || strings.Contains(l.name, "Flask") {
		return nil
	}
	page, _, err := l.page()
	if err == nil && count(page) < 10 {
		err = errors.New("the visits were not counted")
	}
	return err
}

var visitsText = regexp.MustCompile(`(\d+) (?:times|visits)`)

// count returns the number of visits that a page shows, 0 for none.
func count(page string) int {
	found := visitsText.FindStringSubmatch(page)
	if found == nil {
		return 0
	}
	n, _ := strconv.Atoi(found[1])
	return n
}

var rateText = regexp.MustCompile(`Requests/sec:\s+([0-9.]+)`)

// wrk returns the requests per second. An answer that is no success is an error.
func wrk(url, script string, length time.Duration) (float64, error) {
	args := []string{"-t1", "-c" + strconv.Itoa(connections), "-d" + strconv.Itoa(int(length.Seconds())) + "s"}
	if script != "" {
		args = append(args, "-s", script)
	}
	out, err := exec.Command("wrk", append(args, url)...).CombinedOutput()
	found := rateText.FindSubmatch(out)
	if err != nil || found == nil || strings.Contains(string(out), "Non-2xx") {
		return 0, fmt.Errorf("wrk: %v: %s", err, out)
	}
	return strconv.ParseFloat(string(found[1]), 64)
}
