package storetest

import (
	"context"
	"errors"

	"github.com/hipflask/session/store"
)

// batching is a tiny store with a ReplaceBatch that calls one for each record.
type batching struct {
	*tiny
	one func(s *tiny, ctx context.Context, rec store.Record, version uint64) error
}

func (b batching) ReplaceBatch(ctx context.Context, recs []store.Record, versions []uint64) ([]bool, error) {
	replaced := make([]bool, len(recs))
	for i := range recs {
		err := b.one(b.tiny, ctx, recs[i], versions[i])
		replaced[i] = err == nil
		if err != nil && !errors.Is(err, store.ErrConflict) && !errors.Is(err, store.ErrNotFound) {
			return nil, err
		}
	}
	return replaced, nil
}

var batchMutants = []mutant{{
	name: "ReplaceBatch: none", // the right one
	open: func(s *tiny) store.Store { return batching{s, (*tiny).Replace} },
}, {
	name: "ReplaceBatch ignores versions", caught: []string{"BatchReplacesEach", "BatchHasOneWinner"},
	open: func(s *tiny) store.Store {
		return batching{s, func(s *tiny, ctx context.Context, rec store.Record, _ uint64) error {
			now, err := s.Load(ctx, rec.Key)
			if err != nil {
				return err
			}
			return s.Replace(ctx, rec, now.Version)
		}}
	},
}, {
	name: "ReplaceBatch creates", caught: []string{"BatchReplacesEach"},
	open: func(s *tiny) store.Store {
		return batching{s, func(s *tiny, ctx context.Context, rec store.Record, version uint64) error {
			if err := s.Replace(ctx, rec, version); !errors.Is(err, store.ErrNotFound) {
				return err
			}
			return s.Create(ctx, rec)
		}}
	},
}, {
	name: "ReplaceBatch says that all were replaced", caught: []string{"BatchReplacesEach", "BatchHasOneWinner"},
	open: func(s *tiny) store.Store {
		return batching{s, func(s *tiny, ctx context.Context, rec store.Record, version uint64) error {
			s.Replace(ctx, rec, version)
			return nil
		}}
	},
}, {
	name: "ReplaceBatch loses a field", caught: []string{"BatchReplacesEach"},
	open: func(s *tiny) store.Store {
		return batching{s, func(s *tiny, ctx context.Context, rec store.Record, version uint64) error {
			rec.Handle = ""
			return s.Replace(ctx, rec, version)
		}}
	},
}}
