package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hipflask/session"
	"github.com/hipflask/session/sessiontest"
	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/filestore"
	"github.com/hipflask/session/store/memstore"
)

func record(key string, version uint64, data string) store.Record {
	now := time.Now().Truncate(time.Millisecond)
	return store.Record{Key: key, Handle: "handle-" + key, Version: version, Principal: "ann", Data: []byte(data),
		CreatedAt: now.Add(-time.Hour), LastSeenAt: now.Add(-time.Minute), ExpiresAt: now.Add(time.Hour)}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// pair is two stores with a journal, on which runs of a migration follow each other.
type pair struct {
	*testing.T
	from, to store.Store
	journal  string
}

func newPair(t *testing.T) *pair {
	return &pair{t, memstore.New(nil), memstore.New(nil), filepath.Join(t.TempDir(), "journal")}
}

// run is one run of the command, without the command line.
func (p *pair) run() (*migration, moved) {
	p.Helper()
	j, err := openJournal(p.journal, "from", "to", false)
	must(p.T, err)
	m := &migration{from: p.from, to: p.to, journal: j, workers: 4, began: time.Now()}
	a := &app{out: io.Discard, errs: io.Discard}
	l := lister(p.from)
	must(p.T, m.copy(p.Context(), l))
	ended, err := a.endMissing(p.Context(), m, false)
	must(p.T, err)
	c, err := m.compare(p.Context(), l)
	must(p.T, err)
	must(p.T, j.close())
	return m, moved{Ended: ended, Check: &c}
}

// holds tells what TO has under a key: data, "ended", or "".
func (p *pair) holds(key string) string {
	p.Helper()
	r, err := p.to.Load(p.Context(), key)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return ""
	case err != nil:
		p.Fatal(err)
	case r.Kind != store.Live:
		return r.Kind.String()
	}
	return string(r.Data)
}

// What happens to a session on both sides between two runs, and what has to come of it.
func TestMigrateRules(t *testing.T) {
	t.Parallel()
	change := func(version uint64, data string, later time.Duration) func(*testing.T, store.Store) {
		return func(t *testing.T, s store.Store) {
			old, err := s.Load(t.Context(), "k")
			must(t, err)
			r := record("k", version, data)
			r.LastSeenAt = old.LastSeenAt.Add(later)
			must(t, s.Replace(t.Context(), r, old.Version))
		}
	}
	at := time.Now() // two marks of one kind are the same
	mark := func(kind store.Kind) func(*testing.T, store.Store) {
		return func(t *testing.T, s store.Store) {
			r := record("k", 77, "")
			r.Kind, r.MovedTo = kind, ""
			r.CreatedAt, r.LastSeenAt, r.ExpiresAt = at.Add(-time.Hour), at, at.Add(time.Hour)
			if kind != store.Ended {
				r.MovedTo = "elsewhere"
			}
			must(t, s.Replace(t.Context(), r, 1))
		}
	}
	remove := func(t *testing.T, s store.Store) { must(t, s.Delete(t.Context(), "k")) }
	touch := func(t *testing.T, s store.Store) {
		must(t, s.Touch(t.Context(), "k", 1, time.Now(), time.Now().Add(2*time.Hour)))
	}
	type step = func(*testing.T, store.Store)
	for name, c := range map[string]struct {
		inFrom, inTo []step
		want         string
		check        comparison
	}{
		"nothing":         {nil, nil, "one", comparison{Equal: 1}},
		"changed in FROM": {[]step{change(2, "two", time.Second)}, nil, "two", comparison{Equal: 1}},
		"touched in FROM": {[]step{touch}, nil, "one", comparison{Equal: 1}},
		"changed in TO":   {nil, []step{change(2, "TWO", time.Second)}, "TWO", comparison{Own: 1}},
		"touched in TO":   {nil, []step{touch}, "one", comparison{Own: 1}},
		"changed in both": {[]step{change(2, "two", time.Minute)}, []step{change(3, "TWO", time.Second)},
			"TWO", comparison{Own: 1}},
		"changed in FROM, touched in TO": {[]step{change(2, "two", time.Minute)}, []step{touch}, "one",
			comparison{Own: 1}},
		"ended in FROM": {[]step{mark(store.Ended)}, nil, "ended", comparison{Equal: 1}},
		"ended in FROM, changed in TO": {[]step{mark(store.Ended)}, []step{change(3, "TWO", time.Hour)},
			"ended", comparison{Equal: 1}},
		"ended in TO": {nil, []step{mark(store.Ended)}, "ended", comparison{Own: 1}},
		"ended in TO, changed in FROM": {[]step{change(2, "two", time.Hour)}, []step{mark(store.Ended)},
			"ended", comparison{Own: 1}},
		"forgotten in TO":          {nil, []step{remove}, "", comparison{Own: 1}},
		"forgotten in TO, changed": {[]step{change(2, "two", time.Hour)}, []step{remove}, "", comparison{Own: 1}},
		"renewed in FROM":          {[]step{mark(store.Renewed)}, nil, "renewed", comparison{Equal: 1}},
		"renewed in both": {[]step{mark(store.Renewed)}, []step{mark(store.Renewed)}, "renewed",
			comparison{Equal: 1}},
		"a login took it in FROM": {[]step{mark(store.Replaced)}, []step{touch},
			"replaced", comparison{Equal: 1}},
		"forgotten in FROM":             {[]step{remove}, nil, "ended", comparison{}},
		"forgotten in FROM, used in TO": {[]step{remove}, []step{touch}, "one", comparison{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPair(t)
			must(t, p.from.Create(t.Context(), record("k", 1, "one")))
			m, r := p.run()
			if got := p.holds("k"); got != "one" || m.counts[copied] != 1 || *r.Check != (comparison{Equal: 1}) {
				t.Fatalf("first run: got %q, counts %v, check %+v", got, m.counts, *r.Check)
			}
			for _, s := range c.inFrom {
				s(t, p.from)
			}
			for _, s := range c.inTo {
				s(t, p.to)
			}
			for run := 2; run < 4; run++ { // a third one changes nothing
				_, r = p.run()
				if got := p.holds("k"); got != c.want || *r.Check != c.check {
					t.Errorf("run %d: got %q and check %+v, want %q and %+v", run, got, *r.Check, c.want, c.check)
				}
			}
		})
	}
}

// A session that was used in FROM lives as long in TO.
func TestMigrateTouched(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	must(t, p.from.Create(t.Context(), record("k", 1, "one")))
	p.run()
	later := time.Now().Add(5 * time.Hour).Truncate(time.Millisecond)
	must(t, p.from.Touch(t.Context(), "k", 1, time.Now(), later))
	_, r := p.run()
	if got, err := p.to.Load(t.Context(), "k"); err != nil || !got.ExpiresAt.Equal(later) ||
		*r.Check != (comparison{Equal: 1}) {
		t.Errorf("got end %v, %v, check %+v, want %v and equal", got.ExpiresAt, err, *r.Check, later)
	}
}

// The check at the end sees what a store has lost, although the journal knows nothing of it.
func TestCompareFindsDifferences(t *testing.T) {
	t.Parallel()
	f, j := record("k", 1, "one"), &journal{entries: map[uint64]entry{}}
	m := &migration{from: memstore.New(nil), to: memstore.New(nil), journal: j, began: time.Now()}
	for name, change := range map[string]func(*store.Record){
		"data": func(r *store.Record) { r.Data = []byte("two") }, "principal": func(r *store.Record) {
			r.Principal = "ben"
		},
		"end": func(r *store.Record) { r.ExpiresAt = r.ExpiresAt.Add(-time.Minute) },
	} {
		r := f
		change(&r)
		j.put("k", f, r)
		var c comparison
		if *m.judge(&c, f, r, false)++; c != (comparison{Differs: 1}) {
			t.Errorf("%s: got %+v, want a difference", name, c)
		}
	}
}

// The copy of a session that went on in FROM may have expired: that is no end.
func TestMigrateExpiredCopy(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	must(t, p.from.Create(t.Context(), record("k", 1, "one")))
	p.run()
	must(t, p.to.Delete(t.Context(), "k"))
	j, err := openJournal(p.journal, "from", "to", false)
	must(t, err)
	e, _ := j.get("k")
	e.expires = uint32(time.Now().Add(-time.Second).Unix())
	j.set("k", e)
	must(t, j.close())
	must(t, p.from.Touch(t.Context(), "k", 1, time.Now(), time.Now().Add(2*time.Hour)))
	p.run()
	if got := p.holds("k"); got != "one" {
		t.Errorf("got %q, want the session again", got)
	}
}

// Without its journal a run goes by the times: the later change counts, ends count, and what is there stays.
func TestMigrateWithoutJournal(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	for _, key := range []string{"same", "newer", "older", "ended"} {
		must(t, p.from.Create(t.Context(), record(key, 1, "one")))
	}
	p.run()
	must(t, os.Remove(p.journal))
	newer := record("newer", 2, "two")
	newer.LastSeenAt = time.Now()
	must(t, p.from.Replace(t.Context(), newer, 1))
	marker := record("ended", 2, "")
	marker.Kind = store.Ended
	must(t, p.to.Replace(t.Context(), marker, 1))
	late := record("ended", 3, "two")
	late.LastSeenAt = time.Now()
	must(t, p.from.Replace(t.Context(), late, 1))
	older := record("older", 2, "TWO")
	older.LastSeenAt = time.Now()
	must(t, p.to.Replace(t.Context(), older, 1))
	p.run()
	for key, want := range map[string]string{"same": "one", "newer": "two", "older": "TWO", "ended": "ended"} {
		if got := p.holds(key); got != want {
			t.Errorf("%s: got %q, want %q", key, got, want)
		}
	}
}

// refusing is a store that does not take one session.
type refusing struct{ store.Store }

func (s refusing) Create(ctx context.Context, r store.Record) error {
	if r.Key == "7" {
		return errors.New("too large")
	}
	return s.Store.Create(ctx, r)
}

// One session that TO does not take is told, and keeps none of the others.
func TestMigrateRefusedSession(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	p.to = refusing{p.to}
	for i := range 10 {
		must(t, p.from.Create(t.Context(), record(fmt.Sprint(i), 1, "one")))
	}
	m, r := p.run()
	if m.counts[copied] != 9 || m.counts[failed] != 1 || *r.Check != (comparison{Equal: 9, Missing: 1}) {
		t.Errorf("got counts %v and check %+v, want 9 copied and 1 failed and missing", m.counts, *r.Check)
	}
}

// An outage stops the run, and the next one does the rest.
func TestMigrateOutage(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	fail := &sessiontest.FailStore{Store: p.to}
	for i := range 100 {
		must(t, p.from.Create(t.Context(), record(fmt.Sprint(i), 1, "one")))
	}
	j, err := openJournal(p.journal, "from", "to", false)
	must(t, err)
	fail.Fail(errors.New("down"))
	m := &migration{from: p.from, to: fail, journal: j, workers: 64}
	if err := m.copy(t.Context(), lister(p.from)); err == nil ||
		!strings.Contains(err.Error(), "20 sessions in a row") {
		t.Errorf("got %v, want a stop after 20 failures", err)
	}
	must(t, j.close())
	if m, _ := p.run(); m.counts[copied] != 100 {
		t.Errorf("got counts %v, want 100 copied", m.counts)
	}
}

// A journal that was cut off in the middle of an entry, or belongs to others.
func TestJournal(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "deep", "journal")
	open := func(from string) (*journal, error) { return openJournal(path, from, "to", false) }
	j, err := open("from")
	must(t, err)
	r := record("k", 1, "")
	j.put("k", r, r)
	j.put("l", r, r)
	must(t, j.close())
	whole, err := os.ReadFile(path)
	must(t, err)
	if bytes.Contains(whole, []byte("handle")) || bytes.Contains(whole, []byte("ann")) {
		t.Errorf("the journal holds more than hashes: %q", whole)
	}
	must(t, os.WriteFile(path, whole[:len(whole)-3], 0o600))
	if j, err = open("from"); err != nil || len(j.entries) != 1 {
		t.Fatalf("got %d entries and %v, want the whole one", len(j.entries), err)
	}
	j.put("m", r, r)
	must(t, j.close())
	j, err = open("from")
	must(t, err)
	for _, key := range []string{"k", "m"} {
		if e, ok := j.get(key); !ok || !e.read(r) {
			t.Errorf("the entry of %s is lost", key)
		}
	}
	must(t, j.close())
	if _, err = open("another"); err == nil {
		t.Error("the journal of another store was taken")
	}
}

// TestMigrateKilled kills the command again and again while an application writes to FROM, and then lets it finish.
func TestMigrateKilled(t *testing.T) {
	const n = 1500
	dir := t.TempDir()
	from, err := filestore.Open(filepath.Join(dir, "from"), nil)
	must(t, err)
	defer from.Close()
	app, err := session.New(session.Config{SecretKey: session.NewSecretKey(), Store: from, SweepInterval: -1})
	must(t, err)
	defer app.Close()
	tokens := make([]string, n)
	for i := range tokens {
		s, err := app.Load(t.Context(), "")
		must(t, err)
		s.Set("n", i)
		must(t, s.Save(t.Context()))
		tokens[i] = s.Token()
	}

	stop, stopped := make(chan struct{}), sync.WaitGroup{}
	stopped.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			s, err := app.Load(t.Context(), tokens[rand.IntN(n)])
			if err != nil {
				t.Errorf("the application: %v", err)
				return
			}
			s.Set("changed", i)
			if i%10 == 0 {
				s.Renew()
			}
			if err := s.Save(t.Context()); err != nil {
				t.Errorf("the application: %v", err)
				return
			}
		}
	})
	command := func() *exec.Cmd {
		c := exec.Command("hipflask", "migrate", "file:"+dir+"/from", "file:"+dir+"/to", "--workers",
			"2", "--journal", dir+"/journal")
		c.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0")
		return c
	}
	size := func() int64 {
		i, err := os.Stat(dir + "/journal")
		if err != nil {
			return 0
		}
		return i.Size()
	}
	kills := 0
	for range 4 {
		c := command()
		before := size()
		must(t, c.Start())
		ended := make(chan error, 1)
		go func() { ended <- c.Wait() }()
		for size() == before && len(ended) == 0 {
			time.Sleep(time.Millisecond)
		}
		must(t, c.Process.Kill())
		if err := <-ended; err != nil {
			kills++
		}
	}
	close(stop)
	stopped.Wait()
	if kills == 0 {
		t.Error("no run was killed: there are too few sessions")
	}
	if out, err := command().CombinedOutput(); err != nil {
		t.Fatalf("the last run: %v: %s", err, out)
	}

	to, err := filestore.Open(filepath.Join(dir, "to"), nil)
	must(t, err)
	defer to.Close()
	for _, side := range [][2]store.Store{{from, to}, {to, from}} {
		live := 0
		for r, err := range lister(side[0]).All(t.Context()) {
			must(t, err)
			if r.Kind != store.Live {
				continue
			}
			live++
			a, err := side[0].Load(t.Context(), r.Key)
			must(t, err)
			b, err := side[1].Load(t.Context(), r.Key)
			if err != nil {
				t.Fatalf("a session is on one side only: %v", err)
			}
			if a.Version != b.Version || !bytes.Equal(a.Data, b.Data) || a.Handle != b.Handle ||
				!a.ExpiresAt.Equal(b.ExpiresAt) {
				t.Fatal("the two sides differ")
			}
		}
		if live != n {
			t.Errorf("got %d live sessions, want %d", live, n)
		}
	}
}

// A foreign layout tells how much time is left, and so never twice the same end. That is no change; a touch is.
func TestJournalOfForeignRecords(t *testing.T) {
	t.Parallel()
	r := store.Record{Key: "k", Version: 1, ExpiresAt: time.Now().Add(time.Hour)}
	j := &journal{entries: map[uint64]entry{}}
	j.put("k", r, r)
	e, _ := j.get("k")
	for later, want := range map[time.Duration]bool{0: true, time.Millisecond: true, -time.Second: true,
		time.Minute: false, -time.Minute: false} {
		got := r
		got.ExpiresAt = r.ExpiresAt.Add(later)
		if e.read(got) != want || e.wrote(got) != want {
			t.Errorf("%v later: got unchanged %v, want %v", later, e.read(got), want)
		}
	}
}
