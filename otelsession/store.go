package otelsession

import (
	"context"
	"errors"
	"iter"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"

	"github.com/hipflask/session/store"
)

// operation is a method of a store.
type operation int

const (
	load operation = iota
	loadStale
	create
	replace
	touch
	remove
	list
	sweep
	operations
)

var operationNames = [operations]string{"load", "load_stale", "create", "replace", "touch", "delete", "list", "sweep"}

// outcome says how an operation ended. The first four are answers of a healthy store.
type outcome int

const (
	ok outcome = iota
	notFound
	exists
	conflict
	timeout
	canceled
	failed
	outcomes
)

var outcomeNames = [outcomes]string{"ok", "not_found", "exists", "conflict", "timeout", "canceled", "error"}

func outcomeOf(err error) outcome {
	switch {
	case err == nil:
		return ok
	case errors.Is(err, store.ErrNotFound):
		return notFound
	case errors.Is(err, store.ErrExists):
		return exists
	case errors.Is(err, store.ErrConflict):
		return conflict
	case errors.Is(err, context.DeadlineExceeded):
		return timeout
	case errors.Is(err, context.Canceled):
		return canceled
	}
	return failed
}

// operationMeter records how long the operations of a store take. Its attribute sets are made once: recording allocates
// nothing.
type operationMeter struct {
	duration metric.Float64Histogram
	attrs    [operations][outcomes][]metric.RecordOption
}

func newOperationMeter(meter metric.Meter, system string) (*operationMeter, error) {
	m := &operationMeter{}
	var err error
	if system == "" {
		// A file or a map in memory answers in microseconds.
		m.duration, err = meter.Float64Histogram("session.store.operation.duration", metric.WithUnit("s"),
			metric.WithDescription("Duration of operations of the session store"),
			metric.WithExplicitBucketBoundaries(1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1, 10))
	} else {
		// The boundaries are those that the semantic conventions for this name ask for.
		m.duration, err = meter.Float64Histogram("db.client.operation.duration", metric.WithUnit("s"),
			metric.WithDescription("Duration of database client operations"),
			metric.WithExplicitBucketBoundaries(0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10))
	}
	if err != nil {
		return nil, err
	}
	for op := range operations {
		for out := range outcomes {
			attrs := []attribute.KeyValue{attribute.String("session.store.outcome", outcomeNames[out])}
			if system == "" {
				attrs = append(attrs, attribute.String("session.store.operation", operationNames[op]))
			} else {
				attrs = append(attrs, semconv.DBSystemNameKey.String(system),
					semconv.DBOperationName(operationNames[op]))
			}
			if out >= timeout { // error.type is for what failed alone
				attrs = append(attrs, semconv.ErrorTypeKey.String(outcomeNames[out]))
			}
			m.attrs[op][out] = []metric.RecordOption{metric.WithAttributeSet(attribute.NewSet(attrs...))}
		}
	}
	return m, nil
}

func (m *operationMeter) record(ctx context.Context, op operation, took time.Duration, err error) {
	m.duration.Record(ctx, took.Seconds(), m.attrs[op][outcomeOf(err)]...)
}

// wrap returns s measured. It can list and sweep if s can.
func (m *operationMeter) wrap(s store.Store, swept metric.Int64Counter) store.Store {
	base := measured{s, m}
	lister, lists := store.As[store.Lister](s)
	sweeper, sweeps := store.As[store.Sweeper](s)
	l, w := listing{lister, m}, sweeping{sweeper, m, swept}
	switch {
	case lists && sweeps:
		return struct {
			measured
			listing
			sweeping
		}{base, l, w}
	case lists:
		return struct {
			measured
			listing
		}{base, l}
	case sweeps:
		return struct {
			measured
			sweeping
		}{base, w}
	}
	return base
}

type measured struct {
	store.Store
	meter *operationMeter
}

// Unwrap returns the store that is measured, for [store.As].
func (s measured) Unwrap() store.Store { return s.Store }

func (s measured) Load(ctx context.Context, key string) (store.Record, error) {
	begun := time.Now()
	r, err := s.Store.Load(ctx, key)
	s.meter.record(ctx, load, time.Since(begun), err)
	return r, err
}

// LoadStale implements [store.StaleLoader], if the store that is measured does.
func (s measured) LoadStale(ctx context.Context, key string) (store.Record, error) {
	l, ok := store.As[store.StaleLoader](s.Store)
	if !ok {
		return store.Record{}, errors.ErrUnsupported
	}
	begun := time.Now()
	r, err := l.LoadStale(ctx, key)
	if !errors.Is(err, errors.ErrUnsupported) {
		s.meter.record(ctx, loadStale, time.Since(begun), err)
	}
	return r, err
}

func (s measured) Create(ctx context.Context, rec store.Record) error {
	begun := time.Now()
	err := s.Store.Create(ctx, rec)
	s.meter.record(ctx, create, time.Since(begun), err)
	return err
}

func (s measured) Replace(ctx context.Context, rec store.Record, version uint64) error {
	begun := time.Now()
	err := s.Store.Replace(ctx, rec, version)
	s.meter.record(ctx, replace, time.Since(begun), err)
	return err
}

func (s measured) Touch(ctx context.Context, key string, version uint64, seen, expires time.Time) error {
	begun := time.Now()
	err := s.Store.Touch(ctx, key, version, seen, expires)
	s.meter.record(ctx, touch, time.Since(begun), err)
	return err
}

func (s measured) Delete(ctx context.Context, key string) error {
	begun := time.Now()
	err := s.Store.Delete(ctx, key)
	s.meter.record(ctx, remove, time.Since(begun), err)
	return err
}

type listing struct {
	lister store.Lister
	meter  *operationMeter
}

func (l listing) Principal(ctx context.Context, principal string) iter.Seq2[store.Record, error] {
	return l.meter.list(ctx, l.lister.Principal(ctx, principal))
}

func (l listing) All(ctx context.Context) iter.Seq2[store.Record, error] {
	return l.meter.list(ctx, l.lister.All(ctx))
}

// list measures a listing without the time that the loop's body takes.
func (m *operationMeter) list(ctx context.Context, seq iter.Seq2[store.Record, error]) iter.Seq2[store.Record, error] {
	return func(yield func(store.Record, error) bool) {
		var took time.Duration
		var failed error
		begun := time.Now()
		seq(func(r store.Record, err error) bool {
			took += time.Since(begun)
			if err != nil {
				failed = err
			}
			more := yield(r, err)
			begun = time.Now()
			return more
		})
		m.record(ctx, list, took+time.Since(begun), failed)
	}
}

type sweeping struct {
	sweeper store.Sweeper
	meter   *operationMeter
	swept   metric.Int64Counter
}

func (s sweeping) Sweep(ctx context.Context, limit int) (int, error) {
	begun := time.Now()
	n, err := s.sweeper.Sweep(ctx, limit)
	s.meter.record(ctx, sweep, time.Since(begun), err)
	s.swept.Add(ctx, int64(n))
	return n, err
}
