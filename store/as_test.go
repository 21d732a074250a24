package store_test

import (
	"testing"

	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/memstore"
)

type wrapper struct{ store.Store }

func (w wrapper) Unwrap() store.Store { return w.Store }

type opaque struct{ store.Store }

type sweepingWrapper struct {
	wrapper
	store.Sweeper
}

func TestAs(t *testing.T) {
	m := memstore.New(nil)
	if l, ok := store.As[store.Lister](wrapper{wrapper{m}}); !ok || l != store.Lister(m) {
		t.Errorf("got %v, %v for a Lister below two wrappers, want the memstore", l, ok)
	}
	if _, ok := store.As[store.Lister](wrapper{opaque{m}}); ok {
		t.Error("got a Lister below a wrapper without Unwrap, want none")
	}
	if got, ok := store.As[*memstore.Store](wrapper{m}); !ok || got != m {
		t.Error("got no *memstore.Store below a wrapper, want it")
	}
	own := sweepingWrapper{wrapper{m}, memstore.New(nil)}
	if s, ok := store.As[store.Sweeper](own); !ok || s != store.Sweeper(own) {
		t.Error("got the wrapped store's Sweeper, want the wrapper's own")
	}
	if _, ok := store.As[store.Lister](nil); ok {
		t.Error("got a Lister of nil, want none")
	}
	if _, ok := store.As[store.Lister](wrapper{}); ok {
		t.Error("got a Lister of a wrapper around nil, want none")
	}
}
