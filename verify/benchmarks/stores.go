package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/filestore"
	"github.com/hipflask/session/verify/benchmarks/measure"
)

// record returns the record of session i with so many bytes of data.
func record(i, size int, principal string) store.Record {
	now := time.Now()
	return store.Record{
		Key: recordKey(i), Version: 1, Principal: principal, Handle: fmt.Sprintf("%022d", i),
		CreatedAt: now, LastSeenAt: now, ExpiresAt: now.Add(24 * time.Hour), Data: make([]byte, size),
	}
}

// recordKey is as long as the keys of a session.Manager.
func recordKey(i int) string { return fmt.Sprintf("%022d", i) }

// storeSubjects returns Load and Replace of stored sessions, one after the other.
func storeSubjects(s store.Store, n int) (load, replace measure.Subject, err error) {
	ctx := context.Background()
	recs := make([]store.Record, n)
	for i := range recs {
		recs[i] = record(i, 200, fmt.Sprintf("user-%d", i))
		if err := s.Create(ctx, recs[i]); err != nil {
			return load, replace, err
		}
	}
	loads, replaces := 0, 0
	load = measure.Subject{Name: "Load", Run: repeat(func() error {
		rec := &recs[loads%n]
		loads++
		got, err := s.Load(ctx, rec.Key)
		if err == nil && (got.Version != rec.Version || len(got.Data) != len(rec.Data)) {
			return errors.New("loaded another record than the one stored")
		}
		return err
	})}
	replace = measure.Subject{Name: "Replace", Run: repeat(func() error {
		rec := &recs[replaces%n]
		replaces++
		old := rec.Version
		rec.Version++
		return s.Replace(ctx, *rec, old)
	})}
	return load, replace, nil
}

// measureFiles holds the file store against the system calls that it can't do without.
func measureFiles(p measure.Plan, dir string, sessions int) (load, replace, floorRead, floorChange measure.Samples,
	err error) {
	files, err := filestore.Open(filepath.Join(dir, "store"), nil)
	if err != nil {
		return
	}
	defer files.Close()
	l, r, err := storeSubjects(files, sessions)
	if err != nil {
		return
	}
	read, change, err := fileFloors(dir, sessions)
	if err != nil {
		return
	}
	samples := measure.Run(p, l, read, r, change)
	return samples[0], samples[2], samples[1], samples[3], nil
}
