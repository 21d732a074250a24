package main

import (
	"context"
	"errors"
	"time"

	"github.com/hipflask/session/store"
)

// creates is a store whose Create overwrites.
type creates struct{ store.Store }

func (s creates) Create(ctx context.Context, r store.Record) error {
	if err := s.Delete(ctx, r.Key); err != nil {
		return err
	}
	return s.Store.Create(ctx, r)
}

// replaces is a store whose Replace looks at no version.
type replaces struct{ store.Store }

func (s replaces) Replace(ctx context.Context, r store.Record, _ uint64) error {
	for {
		old, err := s.Load(ctx, r.Key)
		if err != nil {
			return err
		}
		if err := s.Store.Replace(ctx, r, old.Version); !errors.Is(err, store.ErrConflict) {
			return err
		}
	}
}

// longLived is a store whose clock is wrong.
type longLived struct {
	store.Store
	by time.Duration
}

func (s longLived) Create(ctx context.Context, r store.Record) error {
	r.ExpiresAt = r.ExpiresAt.Add(s.by)
	return s.Store.Create(ctx, r)
}

// small is a store that takes no more than so many bytes.
type small struct {
	store.Store
	limit int
}

func (s small) Create(ctx context.Context, r store.Record) error {
	if len(r.Data) > s.limit {
		return errors.New("too large")
	}
	return s.Store.Create(ctx, r)
}

// expired is a store whose only record has expired.
type expired struct {
	store.Store
	record store.Record
}

func (s expired) Load(context.Context, string) (store.Record, error) {
	s.record.ExpiresAt = time.Now().Add(-3*time.Hour - time.Minute)
	return store.Record{}, &store.ExpiredError{Record: s.record}
}
