package main

import (
	"cmp"
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

	"github.com/hipflask/session/internal/servertest"
	"github.com/hipflask/session/verify/benchmarks/measure"
)

// traffic is who asks a server for its home page. wrk holds 32 connections open.
type traffic struct {
	name        string
	users       int        // who are logged in; each of their requests counts a visit. 0: nobody is
	each        int        // consecutive requests of one user, which are therefore in flight at the same time
	login       bool       // the login example is measured too
	bare, redis [2]float64 // target and best: of net/http's rate, and of that of express-session, with Redis
}

var traffics = []traffic{
	{"a visitor", 0, 1, true, [2]float64{0.8, 0.9}, [2]float64{3, 5}},
	{"a user", 32, 1, true, [2]float64{0.75, 0.9}, [2]float64{3, 5}},
	{"a page of 8 requests at once", 4, 8, false, [2]float64{0.6, 0.75}, [2]float64{3, 5}},
	{"one session, 32 requests at once", 1, 32, false, [2]float64{0.5, 0.7}, [2]float64{2, 4}},
}

// server is a program, and what was measured of it.
type server struct {
	name    string
	page    string // servers with the same page are compared
	ours    bool   // no visit may get lost
	cookie  bool   // the session is in the cookie, which wrk sends again and again: no visit can be counted
	command func(addr string) *exec.Cmd
	process *process

	cookies      []string // Cookie headers of those who are logged in
	script       string   // for wrk, with the cookies
	before, sent int      // visits when wrk began, and requests that got a response since
	rate         []float64
}

const byExpress = "express-session, Redis"

// servers measures whole servers: the program of the README beside the same with other frameworks, and the login
// example beside the same on Flask, each beside a bare server with the same page.
func (b *bench) servers() (err error) {
	if _, err := exec.LookPath("wrk"); err != nil {
		return errors.New("wrk is missing: Debian's package wrk")
	}
	var tb testbed
	defer tb.close()
	servers, err := b.programs(urlOf(servertest.Redis(&tb)))
	if err != nil {
		return err
	}
	var running []*process
	defer func() {
		for _, p := range running {
			err = errors.Join(err, p.stop())
		}
	}()
	for i := range servers {
		s := &servers[i]
		if s.process, err = start(s.command); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		running = append(running, s.process)
	}
	t := table{head: []string{"home page of", "for", "requests per second", "of bare net/http", "range", "visits kept"}}
	for _, page := range []string{"README's program", "login example"} {
		for _, who := range traffics {
			if page == "login example" && !who.login {
				continue
			}
			var group []server
			for _, s := range servers {
				if s.page == page {
					group = append(group, s)
				}
			}
			for i := range group {
				if err := group[i].logIn(b.dir, who); err != nil {
					return fmt.Errorf("%s: %w", group[i].name, err)
				}
			}
			bare, err := b.startBare(&group[0])
			if err != nil {
				return err
			}
			running, group = append(running, bare.process), append(group, bare)
			if err := b.wrk(group); err != nil {
				return err
			}
			if err := b.compare(&t, who, group); err != nil {
				return err
			}
		}
	}
	return b.publish("servers", "Whole servers", t)
}

// compare adds servers with the same page to the table, and ours to that of targets. The last one is the bare one.
func (b *bench) compare(t *table, who traffic, group []server) error {
	byName := map[string]server{}
	for _, s := range group {
		byName[s.name] = s
		kept, err := s.kept()
		if err != nil {
			return fmt.Errorf("%s, %s: %w", s.name, who.name, err)
		}
		of := measure.Quotient(s.rate, group[len(group)-1].rate)
		t.add(s.name, who.name, fmt.Sprintf("%.0f", measure.Spread(s.rate).Median), ratio(of.Median),
			bounds(of), kept)
	}
	for _, c := range []struct {
		us, them string
		bounds   [2]float64
	}{
		{group[0].name, group[len(group)-1].name, who.bare}, {"README's program, Redis", byExpress, who.redis},
	} {
		us, measured := byName[c.us]
		them, beside := byName[c.them]
		if measured && beside {
			b.rate(target{us.name + ": " + who.name, them.name, c.bounds[0], c.bounds[1], 0}, us.rate, them.rate)
		}
	}
	return nil
}

// wrk measures the servers in turns, after a first one in which a just-in-time compiler warms up.
func (b *bench) wrk(group []server) error {
	rounds := 5
	if b.quick {
		rounds = 2
	}
	if b.plan.Rounds == 1 {
		rounds = 0
	}
	for round := range rounds + 1 {
		for k := range group {
			s := &group[(k+round)%len(group)]
			if err := s.wrk(); err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
			if round == 0 && rounds > 0 {
				s.rate = nil
			}
		}
	}
	return nil
}

// programs builds our programs, installs the others, and returns them. A test does with one of each page.
func (b *bench) programs(redis string) ([]server, error) {
	for _, program := range []string{"verify/benchmarks/readme", "examples/login", "verify/benchmarks/bare"} {
		if err := b.build(program); err != nil {
			return nil, err
		}
	}
	ours := func(page, store, program, url string) server {
		return server{name: page + ", " + store, page: page, ours: true, command: func(addr string) *exec.Cmd {
			return exec.Command(filepath.Join(b.dir, program), "-store", url, "-addr", addr)
		}}
	}
	all := []server{
		ours("README's program", "memory", "readme", "memory:"), ours("login example", "memory", "login", "memory:"),
	}
	if b.plan.Rounds == 1 {
		return all, nil
	}
	interpreter, err := python()
	if err != nil {
		return nil, err
	}
	if err := node(); err != nil {
		return nil, err
	}
	other := func(name string, args ...string) func(addr string) *exec.Cmd {
		return func(addr string) *exec.Cmd {
			cmd := exec.Command(name, append(args, addr)...)
			cmd.Dir = filepath.Join(folder(), "apps")
			cmd.Env = append(os.Environ(), "REDIS_URL="+redis, "NODE_ENV=production")
			return cmd
		}
	}
	gunicorn := func(app string) func(addr string) *exec.Cmd {
		return other(interpreter, "-m", "gunicorn", "--worker-class", "gthread",
			"--workers", strconv.Itoa(runtime.NumCPU()),
			"--threads", "2", "--no-control-socket", app, "--bind")
	}
	return append(all,
		ours("README's program", "files", "readme", "file:"+filepath.Join(b.dir, "readme-sessions")),
		ours("README's program", "Redis", "readme", redis),
		ours("login example", "files", "login", "file:"+filepath.Join(b.dir, "login-sessions")),
		server{name: byExpress, page: "README's program", command: other("node", "express.js")},
		server{name: "Django, Redis", page: "README's program", command: gunicorn("djangoapp:app")},
		server{name: "Flask-Session, Redis", page: "README's program", command: gunicorn("flasksession:app")},
		server{name: "the same on Flask, gunicorn", page: "login example", cookie: true, command: gunicorn("app:app")},
	), nil
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
func (b *bench) startBare(like *server) (server, error) {
	page, header, err := like.get(slices.Concat(like.cookies, []string{""})[0])
	if err != nil {
		return server{}, err
	}
	f, err := os.CreateTemp(b.dir, "page")
	if err != nil {
		return server{}, err
	}
	if _, err := f.WriteString(page); err != nil {
		return server{}, err
	}
	args := []string{"-body", f.Name()}
	for name, values := range header {
		switch name {
		case "Date", "Content-Length": // net/http's
		case "Set-Cookie", "Vary": // the session's
		default:
			args = append(args, "-header", name+": "+values[0])
		}
	}
	p, err := start(func(addr string) *exec.Cmd {
		return exec.Command(filepath.Join(b.dir, "bare"), append(args, "-addr", addr)...)
	})
	return server{name: "bare net/http, the same page", process: p, script: like.script}, cmp.Or(err, f.Close())
}

// logIn logs the users in, looks whether they are, and writes a script for wrk that sends their requests.
func (s *server) logIn(dir string, who traffic) error {
	s.script = ""
	if who.users == 0 {
		return nil
	}
	var script strings.Builder
	script.WriteString("local cookies = {\n")
	for i := range who.users {
		user := fmt.Sprintf("user-%d", i)
		cookie, err := s.process.logIn(user)
		if err != nil {
			return err
		}
		page, _, err := s.get(cookie)
		if err != nil {
			return err
		}
		if slices.Contains(s.cookies, cookie) || count(page) != 2 ||
			!strings.Contains(strings.ReplaceAll(page, "<strong>", ""), "Logged in as "+user) {
			return fmt.Errorf("%s is not logged in, with a session of its own", user)
		}
		s.cookies = append(s.cookies, cookie)
		fmt.Fprintf(&script, "\t%q,\n", cookie)
	}
	s.before = 2 * who.users
	// As few instructions for a request as wrk can do with: it shares the machine with the server.
	fmt.Fprintf(&script, `}
local requests, n = {}, 0
init = function()
	for i, cookie in ipairs(cookies) do
		for j = 1, %d do
			requests[#requests + 1] = wrk.format("GET", "/", {["Cookie"] = cookie})
		end
	end
end
request = function()
	n = n + 1
	return requests[n %% #requests + 1]
end
`, who.each)
	f, err := os.CreateTemp(dir, "wrk*.lua")
	if err != nil {
		return err
	}
	s.script = f.Name()
	_, err = f.WriteString(script.String())
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
	// express-session stores a session before the last byte of the response.
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
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
	return strings.Join(pairs, "; "), res.Body.Close()
}

func (s *server) get(cookie string) (string, http.Header, error) {
	req, err := http.NewRequest(http.MethodGet, s.process.url, nil)
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

// kept says how many of the visits the sessions have counted.
func (s *server) kept() (string, error) {
	switch {
	case s.cookies == nil:
		return "", nil
	case s.cookie:
		return "in the cookie", nil
	}
	visits := -s.before
	for _, cookie := range s.cookies {
		page, _, err := s.get(cookie)
		if err != nil {
			return "", err
		}
		visits += count(page) - 1
	}
	if s.ours && visits < s.sent {
		return "", fmt.Errorf("%d visits got a response, %d were counted", s.sent, visits)
	}
	// Those that were in flight when wrk ended may have been counted as well.
	return share(min(visits, s.sent), s.sent), nil
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

var wrkText = regexp.MustCompile(`(?s)(\d+) requests in .*Requests/sec:\s+([0-9.]+)`)

// wrk loads the server for a second. A response that is no success is an error.
func (s *server) wrk() error {
	args := []string{"-t1", "-c32", "-d1s", s.process.url}
	if s.script != "" {
		args = append(args, "-s", s.script)
	}
	out, err := exec.Command("wrk", args...).CombinedOutput()
	found := wrkText.FindSubmatch(out)
	if err != nil || found == nil || strings.Contains(string(out), "Non-2xx") {
		return fmt.Errorf("wrk: %v: %s", err, out)
	}
	n, _ := strconv.Atoi(string(found[1])) // digits
	rate, err := strconv.ParseFloat(string(found[2]), 64)
	s.sent, s.rate = s.sent+n, append(s.rate, rate)
	return err
}
