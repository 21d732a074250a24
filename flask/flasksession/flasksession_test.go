package flasksession

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hipflask/session/store"
)

// fake is a Medium that tells no expiry. It accepts every write of the version that it has.
type fake struct{ document []byte }

func (f *fake) Load(context.Context, string) (document, mark *Value, err error) {
	if f.document == nil {
		return nil, nil, nil
	}
	return &Value{Data: f.document}, nil, nil
}

func (f *fake) Create(_ context.Context, _ string, v Value) error {
	f.document = v.Data
	return nil
}

func (f *fake) Replace(_ context.Context, _ string, version uint64, v Value) error {
	if f.Version(f.document) != version {
		return store.ErrConflict
	}
	f.document = v.Data
	return nil
}

func (f *fake) Touch(_ context.Context, _ string, version uint64, _ time.Time) error {
	if f.Version(f.document) != version {
		return store.ErrConflict
	}
	return nil
}

func (f *fake) Retire(context.Context, string, uint64, Value) error { f.document = nil; return nil }
func (f *fake) Mark(context.Context, string, Value) error           { return nil }
func (f *fake) Delete(context.Context, string) error                { f.document = nil; return nil }
func (f *fake) Version(document []byte) uint64                      { return SHA256(document) }

// A writer goes on with the version that it chose, and learns the expiry that the medium does not tell.
func TestGoesOnFromItsOwnWrites(t *testing.T) {
	t.Parallel()
	ctx, s := t.Context(), New(new(fake))
	first, second := time.Now().Add(time.Hour), time.Now().Add(2*time.Hour)
	if err := s.Create(ctx, store.Record{Key: "key", Version: 1, ExpiresAt: first, Data: []byte("a")}); err != nil {
		t.Fatal(err)
	}
	if rec, err := s.Load(ctx, "key"); err != nil || rec.Version != SHA256([]byte("a")) || !rec.ExpiresAt.Equal(first) {
		t.Errorf("after Create: got version %d, expiry %v, %v", rec.Version, rec.ExpiresAt, err)
	}
	if err := s.Replace(ctx, store.Record{Key: "key", Version: 2, ExpiresAt: first, Data: []byte("b")}, 1); err != nil {
		t.Errorf("Replace of the version that the writer chose: %v", err)
	}
	if err := s.Touch(ctx, "key", 2, time.Now(), second); err != nil {
		t.Errorf("Touch of the version that the writer chose: %v", err)
	}
	if rec, err := s.Load(ctx, "key"); err != nil || !rec.ExpiresAt.Equal(second) {
		t.Errorf("after Touch: got expiry %v, %v; want %v", rec.ExpiresAt, err, second)
	}
	if err := s.Replace(ctx, store.Record{Key: "key", Version: 3, ExpiresAt: first, Data: []byte("c")},
		1); !errors.Is(err, store.ErrConflict) {
		t.Errorf("Replace of an older version: got %v, want %v", err, store.ErrConflict)
	}
	if err := s.Replace(ctx, store.Record{Key: "key", Version: 4, ExpiresAt: first, Data: []byte("c")},
		SHA256([]byte("b"))); err != nil {
		t.Errorf("Replace of a version that was loaded: %v", err)
	}
}

func TestRecentIsBounded(t *testing.T) {
	t.Parallel()
	var r recent
	for i := range 5 * generation {
		r.put(strconv.Itoa(i), written{version: uint64(i + 1)})
		if i >= generation && r.get(strconv.Itoa(i-generation+1)).version == 0 {
			t.Fatalf("a session of the last %d is forgotten", generation)
		}
	}
	if n := len(r.young) + len(r.aging); n > 2*generation {
		t.Errorf("got %d sessions in memory, want at most %d", n, 2*generation)
	}
	r.forget(strconv.Itoa(5*generation - 1))
	if r.get(strconv.Itoa(5*generation-1)).version != 0 {
		t.Error("forget forgets nothing")
	}
}

// Keys that the contract excludes do not reach the medium.
func TestKeys(t *testing.T) {
	t.Parallel()
	ctx, s := t.Context(), New(nil)
	for _, key := range []string{"", " ", "a b", "ä", "a\n", strings.Repeat("x", store.MaxKey+1)} {
		_, err := s.Load(ctx, key)
		for what, err := range map[string]error{
			"Load": err, "Create": s.Create(ctx, store.Record{Key: key}),
			"Replace": s.Replace(ctx, store.Record{Key: key}, 1),
			"Touch":   s.Touch(ctx, key, 1, time.Now(), time.Now()), "Delete": s.Delete(ctx, key),
		} {
			if err == nil || errors.Is(err, store.ErrNotFound) ||
				key != "" && key != " " && strings.Contains(err.Error(), key) {
				t.Errorf("%s of a bad key: got %v, want an error without the key", what, err)
			}
		}
	}
}
