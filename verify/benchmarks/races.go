package main

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/hipflask/session/internal/servertest"
	"github.com/hipflask/session/verify/benchmarks/peers"
)

// raceWriters is the number of requests of one session at the same time.
const raceWriters = 16

// race is something that goes wrong in some libraries when requests of one session overlap. Nothing is left to chance:
// each request waits in its handler until it is its turn, so that a result says what a library does, not how often.
type race struct {
	title, what string
	run         func(t *trial) (bad, outOf int, err error)
}

var allRaces = []race{
	{"writes lost", fmt.Sprintf("%d requests of one session overlap, each changes another key", raceWriters), overlap},
	{"logins back after a slow change", "the session is logged out while a request that changes it is " +
		"in flight; then the browser is logged in again", slowChange},
	{"after a slow read", "the same, with a request that only reads", slowRead},
	{"cookies valid after logout", "a copy of the cookie is used after the logout", copied},
	{"writes lost in a renewal", fmt.Sprintf("the session gets a new ID while %d requests are in "+
		"flight that change a key each", raceWriters), renewal},
	{"logins undone", fmt.Sprintf("a visitor logs in while %d earlier requests are in flight that change "+
		"a key each; their responses, which come later, undo the login", raceWriters), loginUndone},
	{"strangers in an outage", "the store can't be reached: the response is 200, from a handler that takes " +
		"a logged-in user for a stranger", outageRead},
	{"lost writes answered by 200", "the store fails between reading and saving: the response is 200, " +
		"and the change is lost", outageSave},
}

// races runs every race against every library.
func (b *bench) races() error {
	t := table{head: []string{""}}
	for _, r := range allRaces {
		t.head = append(t.head, r.title)
	}
	trials := 20
	if b.plan.Rounds == 1 {
		trials = 1
	}
	var tb testbed
	defer tb.close()
	libraries := slices.Insert(peers.All(), 2, peers.HipflaskRedis(urlOf(servertest.Redis(&tb))))
	for _, l := range libraries {
		cells, err := raceAll(l, b.dir, trials)
		if err != nil {
			return err
		}
		t.add(append([]string{strings.TrimSpace(l.Name + " " + l.Version())}, cells...)...)
	}
	var legend strings.Builder
	for _, r := range allRaces {
		fmt.Fprintf(&legend, "- **%s**: %s.\n", r.title, r.what)
	}
	return b.publish("races", "Races: what went wrong, out of how many", t, legend.String())
}

// raceAll returns what went wrong in each race, out of so many trials.
func raceAll(l peers.Library, dir string, trials int) (cells []string, err error) {
	for _, r := range allRaces {
		bad, outOf := 0, 0
		for range trials {
			t, err := newTrial(l, dir)
			if err != nil {
				return nil, err
			}
			n, of, err := r.run(t)
			if err != nil {
				return nil, fmt.Errorf("%s, %s: %w", l.Name, r.title, err)
			}
			bad, outOf = bad+n, outOf+of
			if err := t.app.Close(); err != nil {
				return nil, err
			}
		}
		switch {
		case outOf == 0:
			cells = append(cells, "no store")
		case bad == 0:
			cells = append(cells, fmt.Sprintf("0 of %d", outOf))
		default:
			cells = append(cells, fmt.Sprintf("**%d** of %d", bad, outOf))
		}
	}
	return cells, nil
}

// trial is one run of a race: a library with one browser that is logged in.
type trial struct {
	app     peers.App
	browser jar
}

const raceUser = "ann"

func newTrial(l peers.Library, dir string) (*trial, error) {
	dir, err := os.MkdirTemp(dir, "race")
	if err != nil {
		return nil, err
	}
	app, err := l.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", l.Name, err)
	}
	t := &trial{app: app, browser: jar{}}
	t.send(login)
	if !t.loggedIn(t.browser) {
		return nil, fmt.Errorf("%s: the login does not last", l.Name)
	}
	return t, nil
}

func login(x peers.Exchange) {
	x.Login(raceUser)
	x.Save()
	x.Reply()
}

// jar is the cookies of a browser.
type jar map[string]string

func (j jar) take(a peers.Answer) {
	for _, value := range a.SetCookies {
		pair, attributes, _ := strings.Cut(value, ";")
		name, value, _ := strings.Cut(pair, "=")
		if ended(attributes) {
			delete(j, name)
		} else {
			j[name] = value
		}
	}
}

// ended says whether a cookie with these attributes is a deletion. All libraries here send Max-Age or a date long past.
func ended(attributes string) bool {
	for attribute := range strings.SplitSeq(strings.ToLower(attributes), ";") {
		switch attribute = strings.TrimSpace(attribute); {
		case attribute == "max-age=0", strings.HasPrefix(attribute, "max-age=-"),
			strings.HasPrefix(attribute, "expires=") && strings.Contains(attribute, " 1970 "),
			strings.HasPrefix(attribute, "expires=") && strings.Contains(attribute, " 2009 "): // fasthttp's
			return true
		}
	}
	return false
}

func (j jar) String() string {
	var pairs []string
	for name, value := range j {
		pairs = append(pairs, name+"="+value)
	}
	slices.Sort(pairs)
	return strings.Join(pairs, "; ")
}

// send sends a request of the browser.
func (t *trial) send(fn peers.Handler) peers.Answer {
	answer := t.app.Serve(fn).Prepare().Send(t.browser.String())
	t.browser.take(answer)
	return answer
}

// loggedIn looks whether these cookies bring ann's session.
func (t *trial) loggedIn(j jar) bool {
	var user string
	t.app.Serve(func(x peers.Exchange) {
		user = x.User()
		x.Reply()
	}).Prepare().Send(j.String())
	return user == raceUser
}

// slow is a request that has read its session and waits in its handler.
type slow struct {
	browser jar
	proceed chan bool
	answer  chan peers.Answer
}

// begin sends requests of the browser and returns when all have read the session. The rest of handler i is then.
func (t *trial) begin(n int, then func(i int, x peers.Exchange)) []slow {
	under := make([]slow, n)
	var read sync.WaitGroup
	for i := range under {
		under[i] = slow{t.browser, make(chan bool), make(chan peers.Answer, 1)}
		read.Add(1)
		request := t.app.Serve(func(x peers.Exchange) {
			x.User()
			read.Done()
			<-under[i].proceed
			then(i, x)
			x.Reply()
		}).Prepare()
		cookie := t.browser.String()
		go func() { under[i].answer <- request.Send(cookie) }()
	}
	read.Wait()
	return under
}

// finish lets the request go on and gives its answer to the browser.
func (s slow) finish() peers.Answer {
	close(s.proceed)
	answer := <-s.answer
	s.browser.take(answer)
	return answer
}

func change(i int, x peers.Exchange) {
	x.SetText(fmt.Sprint("key", i), "changed")
	x.Save()
}

// changesLost counts those of n changes that the browser's session doesn't have.
func (t *trial) changesLost(n int) (lost int) {
	t.send(func(x peers.Exchange) {
		for i := range n {
			if x.Text(fmt.Sprint("key", i)) != "changed" {
				lost++
			}
		}
		x.Reply()
	})
	return lost
}

func overlap(t *trial) (bad, outOf int, err error) {
	for _, s := range t.begin(raceWriters, change) {
		s.finish()
	}
	return t.changesLost(raceWriters), raceWriters, nil
}

func slowChange(t *trial) (bad, outOf int, err error) { return t.logoutDuring(change) }

func slowRead(t *trial) (bad, outOf int, err error) {
	return t.logoutDuring(func(int, peers.Exchange) {})
}

func (t *trial) logoutDuring(then func(int, peers.Exchange)) (bad, outOf int, err error) {
	under := t.begin(1, then)
	t.logout()
	under[0].finish()
	return one(t.loggedIn(t.browser)), 1, nil
}

func (t *trial) logout() {
	t.send(func(x peers.Exchange) {
		x.Logout()
		x.Save()
		x.Reply()
	})
}

func copied(t *trial) (bad, outOf int, err error) {
	before := maps.Clone(t.browser)
	t.logout()
	if t.loggedIn(t.browser) {
		return 0, 0, errors.New("the logout had no effect")
	}
	return one(t.loggedIn(before)), 1, nil
}

func renewal(t *trial) (bad, outOf int, err error) {
	under := t.begin(raceWriters, change)
	t.send(func(x peers.Exchange) {
		x.Renew()
		x.Save()
		x.Reply()
	})
	for _, s := range under {
		s.finish()
	}
	return t.changesLost(raceWriters), raceWriters, nil
}

func loginUndone(t *trial) (bad, outOf int, err error) {
	clear(t.browser)
	t.send(func(x peers.Exchange) { // a visitor with a session, such as a cart
		x.SetText(theme, colour)
		x.Save()
		x.Reply()
	})
	under := t.begin(raceWriters, change)
	t.send(login)
	if !t.loggedIn(t.browser) {
		return 0, 0, errors.New("the login had no effect")
	}
	for _, s := range under {
		s.finish()
	}
	return one(!t.loggedIn(t.browser)), 1, nil
}

func outageRead(t *trial) (bad, outOf int, err error) {
	if !t.app.SetOutage(true) {
		return 0, 0, nil
	}
	var user string
	answer := t.send(func(x peers.Exchange) {
		user = x.User()
		x.Reply()
	})
	t.app.SetOutage(false)
	return one(answer.Status == 200 && user == ""), 1, nil
}

func outageSave(t *trial) (bad, outOf int, err error) {
	under := t.begin(1, change)
	if !t.app.SetOutage(true) {
		under[0].finish()
		return 0, 0, nil
	}
	answer := under[0].finish()
	t.app.SetOutage(false)
	return one(answer.Status == 200 && t.changesLost(1) > 0), 1, nil
}

func one(b bool) int {
	if b {
		return 1
	}
	return 0
}
