package session

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"reflect"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/hipflask/session/store"
)

// A realm is part of the principal that a store keeps, and of nothing else: this file adds it to what goes to the
// store, and removes it from what comes back. So the store's own index keeps the principals of realms apart.

// realmMark stands before and behind a realm: no principal may begin with it. It is U+241F, symbol for unit separator.
const realmMark = "␟"

// maxRealm is the most bytes of a realm. The rest of store.MaxPrincipal is for principals.
const maxRealm = 64

func checkRealm(realm string) error {
	if len(realm) > maxRealm || !utf8.ValidString(realm) || strings.Contains(realm, realmMark) ||
		strings.ContainsRune(realm, 0) {
		return fmt.Errorf("session: Realm is not at most %d bytes of UTF-8 without NUL and %q; leave "+
			"it empty, or choose a name such as \"shop\"",
			maxRealm, realmMark)
	}
	return nil
}

// realm is the text before the principals in the store; "": none.
type realm string

func newRealm(name string) realm {
	if name == "" {
		return ""
	}
	return realm(realmMark + name + realmMark)
}

// add returns a principal as the store has it.
func (p realm) add(principal string) string {
	if principal == "" {
		return "" // anonymous sessions are in no index of a principal
	}
	return string(p) + principal
}

// cut makes the principal of r, as the store has it, that of the application. It reports whether r belongs to the
// realm, as every anonymous session does.
func (p realm) cut(r *store.Record) bool {
	if r.Principal == "" || p == "" {
		return true
	}
	rest, ok := strings.CutPrefix(r.Principal, string(p))
	if ok {
		r.Principal = rest
	}
	return ok
}

// realmStore is the store as a Manager of a realm sees it. The sessions of others don't exist for it.
type realmStore struct {
	store.Store
	realm realm
}

func (s realmStore) Load(ctx context.Context, key string) (store.Record, error) {
	return s.loaded(s.Store.Load(ctx, key))
}

// LoadStale implements [store.StaleLoader].
func (s realmStore) LoadStale(ctx context.Context, key string) (store.Record, error) {
	return s.loaded(loadStale(ctx, s.Store, key))
}

// loadStale is LoadStale of s, if that can do it.
func loadStale(ctx context.Context, s store.Store, key string) (store.Record, error) {
	l, ok := store.As[store.StaleLoader](s)
	if !ok {
		return store.Record{}, errors.ErrUnsupported
	}
	return l.LoadStale(ctx, key)
}

func (s realmStore) loaded(r store.Record, err error) (store.Record, error) {
	if expired := (*store.ExpiredError)(nil); errors.As(err, &expired) {
		r := expired.Record
		if !s.realm.cut(&r) {
			return store.Record{}, store.ErrNotFound
		}
		return store.Record{}, &store.ExpiredError{Record: r}
	}
	if err == nil && !s.realm.cut(&r) {
		return store.Record{}, store.ErrNotFound
	}
	return r, err
}

func (s realmStore) Create(ctx context.Context, r store.Record) error {
	r.Principal = s.realm.add(r.Principal)
	return s.Store.Create(ctx, r)
}

func (s realmStore) Replace(ctx context.Context, r store.Record, version uint64) error {
	r.Principal = s.realm.add(r.Principal)
	return s.Store.Replace(ctx, r, version)
}

// realmLister is the list that belongs to a realmStore.
type realmLister struct {
	store.Lister
	realm realm
}

func (l realmLister) Principal(ctx context.Context, principal string) iter.Seq2[store.Record, error] {
	return l.within(l.Lister.Principal(ctx, l.realm.add(principal)))
}

func (l realmLister) All(ctx context.Context) iter.Seq2[store.Record, error] {
	return l.within(l.Lister.All(ctx))
}

func (l realmLister) within(records iter.Seq2[store.Record, error]) iter.Seq2[store.Record, error] {
	return func(yield func(store.Record, error) bool) {
		for r, err := range records {
			if l.realm.cut(&r) && !yield(r, err) {
				return
			}
		}
	}
}

// sharers are the Managers of this process, by the place of their store in memory: it doesn't keep the store alive. New
// warns of two that share principals without having said so.
var sharers struct {
	sync.Mutex
	names map[uintptr][]string // of the cookies
}

// share notes the Manager. It returns a function that undoes this, and the cookie's name of another Manager whose
// principals are the same; "" if there is none.
func share(s store.Store, name string) (undo func(), other string) {
	undo = func() {}
	for {
		w, ok := s.(interface{ Unwrap() store.Store })
		if !ok {
			break
		}
		s = w.Unwrap()
	}
	v := reflect.ValueOf(s)
	if v.Kind() != reflect.Pointer {
		return undo, ""
	}
	place := v.Pointer()
	sharers.Lock()
	defer sharers.Unlock()
	for _, n := range sharers.names[place] {
		if n != name {
			other = n
		}
	}
	if sharers.names == nil {
		sharers.names = map[uintptr][]string{}
	}
	sharers.names[place] = append(sharers.names[place], name)
	return sync.OnceFunc(func() {
		sharers.Lock()
		defer sharers.Unlock()
		names := sharers.names[place]
		for i, n := range names {
			if n == name {
				names = append(names[:i], names[i+1:]...)
				break
			}
		}
		if sharers.names[place] = names; len(names) == 0 {
			delete(sharers.names, place)
		}
	}), other
}
