package storetest

import (
	"bytes"
	"context"
	"encoding/json"

	"github.com/hipflask/session/store"
)

var publicMutants = []mutant{{
	name: "drops Public", caught: []string{"PublicComesBack", "PublicIsExact", "PublicOf512Bytes",
		"CreateStoresTheRecord"},
	open: writing(func(rec *store.Record) { rec.Public = nil }),
}, {
	name: "keeps the first Public", caught: []string{"PublicComesBack", "PublicMayBeEmpty", "PublicIsExact",
		"PublicIsListed"},
	open: replacing(func(old, rec store.Record) store.Record { rec.Public = old.Public; return rec }),
}, {
	name: "keeps Public where Replace gives none", caught: []string{"PublicMayBeEmpty", "PublicIsListed"},
	open: replacing(func(old, rec store.Record) store.Record {
		if len(rec.Public) == 0 {
			rec.Public = old.Public
		}
		return rec
	}),
}, {
	name: "drops Public in Touch", caught: []string{"PublicComesBack", "TouchMovesTimesOnly"},
	open: touching(func(rec *store.Record) { rec.Public = nil }),
}, {
	name: "keeps Public of users only", caught: []string{"PublicComesBack"},
	open: writing(func(rec *store.Record) {
		if rec.Principal == "" {
			rec.Public = nil
		}
	}),
}, {
	name: "keeps Public beside Data only", caught: []string{"PublicMayBeEmpty"},
	open: writing(func(rec *store.Record) {
		if len(rec.Data) == 0 {
			rec.Public = nil
		}
	}),
}, {
	name: "keeps Public as a document", caught: []string{"PublicIsExact"},
	open: writing(func(rec *store.Record) {
		var members map[string]any
		if json.Unmarshal(rec.Public, &members) == nil {
			rec.Public, _ = json.Marshal(members)
		}
	}),
}, {
	name: "keeps Public without white space", caught: []string{"PublicIsExact"},
	open: writing(func(rec *store.Record) {
		var b bytes.Buffer
		if json.Compact(&b, rec.Public) == nil {
			rec.Public = b.Bytes()
		}
	}),
}, {
	name: "keeps 511 bytes of Public", caught: []string{"PublicOf512Bytes"},
	open: writing(func(rec *store.Record) { rec.Public = rec.Public[:min(len(rec.Public), store.MaxPublic-1)] }),
}, {
	name:   "lists records without Public",
	caught: []string{"PublicIsListed", "PrincipalListsItsRecords", "AllListsEveryRecord"},
	open:   changing(func(_ *tiny, rec store.Record) store.Record { rec.Public = nil; return rec }),
}, {
	name: "lists 256 bytes of Public", caught: []string{"PublicOf512Bytes"},
	open: changing(func(_ *tiny, rec store.Record) store.Record {
		rec.Public = rec.Public[:min(len(rec.Public), 256)]
		return rec
	}),
}, {
	name: "lists its own bytes", caught: []string{"ListedBytesAreTheCallers"},
	open: changing(func(s *tiny, rec store.Record) store.Record {
		s.mu.Lock()
		defer s.mu.Unlock()
		rec.Public = s.recs[rec.Key].Public
		return rec
	}),
}, {
	name: "keeps the Public it is given", caught: []string{"GivenBytesAreNotKept"},
	open: func(s *tiny) store.Store {
		return &mutated{tiny: s, create: func(ctx context.Context, rec store.Record) error {
			err := s.Create(ctx, rec)
			s.mu.Lock()
			defer s.mu.Unlock()
			kept := s.recs[rec.Key]
			kept.Public = rec.Public
			s.recs[rec.Key] = kept
			return err
		}}
	},
}, {
	name: "returns its own Public", caught: []string{"ReturnedBytesAreTheCallers"},
	open: func(s *tiny) store.Store {
		return &mutated{tiny: s, load: func(ctx context.Context, key string) (store.Record, error) {
			rec, err := s.Load(ctx, key)
			s.mu.Lock()
			defer s.mu.Unlock()
			rec.Public = s.recs[key].Public
			return rec, err
		}}
	},
}, {
	name: "returns Public and Data in one array", caught: []string{"ReturnedBytesAreTheCallers"},
	open: func(s *tiny) store.Store {
		return &mutated{tiny: s, load: func(ctx context.Context, key string) (store.Record, error) {
			rec, err := s.Load(ctx, key)
			if err == nil {
				n := len(rec.Public)
				both := append(rec.Public, rec.Data...)
				rec.Public, rec.Data = both[:n], both[n:]
			}
			return rec, err
		}}
	},
}}
