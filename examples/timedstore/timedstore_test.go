package timedstore_test

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/hipflask/session/examples/timedstore"
	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/memstore"
	"github.com/hipflask/session/store/storetest"
)

func TestStore(t *testing.T) {
	storetest.Wrapper(t, func(s store.Store) store.Store {
		return timedstore.New(s, func(string, time.Duration, error) {})
	}, storetest.Bubble()) // waiting for an expiry takes no time
}

// Each call is observed once, with its error.
func TestObserves(t *testing.T) {
	t.Parallel()
	var methods []string
	var last error
	s := timedstore.New(memstore.New(nil), func(method string, took time.Duration, err error) {
		methods, last = append(methods, method), err
		if took < 0 {
			t.Errorf("%s: got %v, want the time that it took", method, took)
		}
	})
	rec := store.Record{Key: "key", Version: 1, ExpiresAt: time.Now().Add(time.Hour)}
	for _, call := range []func() error{
		func() error { return s.Create(t.Context(), rec) },
		func() error { _, err := s.Load(t.Context(), "key"); return err },
		func() error { return s.Replace(t.Context(), rec, 1) },
		func() error { return s.Touch(t.Context(), "key", 1, time.Now(), rec.ExpiresAt) },
		func() error { return s.Delete(t.Context(), "key") },
		func() error { _, err := s.Load(t.Context(), "key"); return err },
	} {
		if err := call(); err != last {
			t.Errorf("observed the error %v, want %v", last, err)
		}
	}
	if got, want := strings.Join(methods, " "), "Create Load Replace Touch Delete Load"; got != want ||
		!errors.Is(last, store.ErrNotFound) {
		t.Errorf("observed %s with the error %v, want %s with ErrNotFound", got, last, want)
	}
}

// The document shows the code as it is.
func TestPage(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/write-a-store.md")
	if err != nil {
		t.Fatal(err)
	}
	for name, from := range map[string]string{"timedstore.go": "// Package", "timedstore_test.go": "func TestStore"} {
		code, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		shown, _, _ := strings.Cut(string(code), "\n// Each call is observed")
		if !strings.Contains(string(page), shown[strings.Index(shown, from):]) {
			t.Errorf("docs/write-a-store.md does not show %s as it is", name)
		}
	}
}
