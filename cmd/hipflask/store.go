package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/hipflask/session"
	"github.com/hipflask/session/store"
	"github.com/hipflask/session/storeurl"
)

// openTimeout bounds the wait for a server that doesn't answer.
const openTimeout = 10 * time.Second

// lookAfter is how long a server may take before openAt looks for one of another kind.
const lookAfter = time.Second

// A place is an open store. Its name is the URL without a password.
type place struct {
	store.Store
	name  string
	close func() error
}

// given returns the URL that the user gave, by way of the environment if he wishes so.
func (a *app) given(url string) (string, error) {
	if name, ok := strings.CutPrefix(url, "env:"); ok {
		if url, _ = a.env(name); url == "" {
			return "", usage("the environment has no %s", name)
		}
	}
	return url, nil
}

// open opens the store that --store or SESSION_STORE names, to look into it.
func (a *app) open(ctx context.Context) (*place, error) {
	url, err := a.wanted()
	if err != nil {
		return nil, err
	}
	return a.openAt(ctx, url, false)
}

func (a *app) wanted() (url string, err error) {
	if url = a.url; url == "" {
		url, _ = a.env("SESSION_STORE")
	}
	if url == "" {
		return "", usage("which store? --store URL, or SESSION_STORE in the environment")
	}
	return url, nil
}

// openAt opens a store. Without create it has to be there: a mistyped folder is no empty store.
func (a *app) openAt(ctx context.Context, url string, create bool) (*place, error) {
	url, err := a.given(url)
	if err != nil {
		return nil, err
	}
	if !create {
		scheme, path, _ := strings.Cut(url, ":")
		scheme = strings.TrimPrefix(scheme, flaskSession)
		if path, _, _ = strings.Cut(strings.TrimPrefix(path, "//"), "?"); scheme == "file" || scheme == "sqlite" {
			if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
				return nil, fmt.Errorf("there is nothing at %s", path)
			}
		}
		if strings.HasPrefix(url, "memory:") {
			return nil, usage("memory: ends with its process, so there is nothing to look into")
		}
	}
	opening, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	open, name := storeurl.Open, bare(url)
	if rest, ok := strings.CutPrefix(url, flaskSession); ok {
		open = openFlaskSession
		url = rest
	}
	// Another kind of server may be silent. It is looked for when something seems wrong, since the look is an error in
	// the log of the right one.
	found := make(chan string, 1)
	watch := time.AfterFunc(lookAfter, func() {
		kind := stranger(opening, url)
		if kind != "" {
			cancel()
		}
		found <- kind
	})
	s, err := open(opening, url)
	if err != nil {
		if watch.Stop() {
			found <- stranger(ctx, url)
		}
		if kind := <-found; kind != "" {
			return nil,
				fmt.Errorf("a %s server answers at that address: is the URL's scheme right, and its "+
					"port? %w", kind, err)
		}
		return nil, err
	}
	watch.Stop()
	return &place{Store: s, name: name, close: s.Close}, nil
}

// bare is the URL without what may be secret: user, password, and all parameters but those that name a part of a
// server.
func bare(url string) string {
	url, query, _ := strings.Cut(url, "?")
	scheme, rest, ok := strings.Cut(url, "://")
	if ok {
		url = scheme + "://" + rest[strings.LastIndexByte(rest, '@')+1:]
	}
	mark := "?"
	for pair := range strings.SplitSeq(query, "&") {
		switch name, _, _ := strings.Cut(pair, "="); name {
		case "prefix", "key_prefix", "table", "db":
			url, mark = url+mark+pair, "&"
		}
	}
	return url
}

// manager returns a Manager for a store. Lists and ends need no secret key: handles are kept in the records, and keys
// are what the records are found by. So its own key is a random one. It has no timeouts of its own, since it doesn't
// know those of the application: a session is live until its record expires.
func manager(s store.Store) (*session.Manager, error) {
	return session.New(session.Config{
		SecretKey: session.NewSecretKey(), Store: s, SweepInterval: -1, IdleTimeout: -1, Lifetime: -1,
	})
}

// with opens the store, makes a Manager for it, calls fn and closes both.
func (a *app) with(ctx context.Context, fn func(*place, *session.Manager) error) (err error) {
	p, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	if isForeign(p.Store) {
		return usage("sessions in Flask-Session's layout have no handles: this command needs a store of Hipflask's own")
	}
	m, err := manager(p.Store)
	if err != nil {
		return err
	}
	defer m.Close()
	return fn(p, m)
}

func (p *place) lister() (lists, error) {
	if l, ok := p.Store.(lists); ok {
		return l, nil
	}
	return nil, fmt.Errorf("%s can't list its sessions", p.name)
}

// find looks for the record of a live session by its handle.
func (p *place) find(ctx context.Context, handle string) (store.Record, error) {
	l, err := p.lister()
	if err != nil {
		return store.Record{}, err
	}
	for r, err := range l.All(ctx) {
		if err != nil {
			return r, err
		}
		if r.Kind == store.Live && session.InfoOf(r).Handle == handle {
			return r, nil
		}
	}
	return store.Record{}, absent(handle)
}

func absent(handle string) error {
	return &exitError{exitAbsent, fmt.Sprintf("no session has the handle %q; it may have ended", handle)}
}

// readAll reads what somebody pipes in, at most a megabyte.
func (a *app) readAll() ([]byte, error) {
	const limit = 1 << 20
	b, err := io.ReadAll(io.LimitReader(a.in, limit+1))
	if err == nil && len(b) > limit {
		err = fmt.Errorf("the input has more than %d bytes", limit)
	}
	return b, err
}
