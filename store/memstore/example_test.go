package memstore_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/memstore"
)

func ExampleNew() {
	ctx := context.Background()
	s := memstore.New(&memstore.Options{MaxSessions: 10_000})
	s.OnEvict(func(rec store.Record) {
		if rec.Principal != "" {
			fmt.Println("a user lost a session: MaxSessions is too small")
		}
	})

	rec := store.Record{Key: "key", Version: 1, Data: []byte(`{"visits":1}`), ExpiresAt: time.Now().Add(time.Hour)}
	if err := s.Create(ctx, rec); err != nil {
		fmt.Println(err)
	}

	// Two requests loaded version 1. The first to save wins, the other one sees that and loads again.
	rec.Version, rec.Data = 2, []byte(`{"visits":2}`)
	fmt.Println(s.Replace(ctx, rec, 1))
	rec.Version = 3
	fmt.Println(errors.Is(s.Replace(ctx, rec, 1), store.ErrConflict))

	got, err := s.Load(ctx, "key")
	fmt.Println(string(got.Data), err)
	// Output:
	// <nil>
	// true
	// {"visits":2} <nil>
}
