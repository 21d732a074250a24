package otelsession

import (
	"context"
	"errors"
	"iter"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/hipflask/session/store"
)

// operation is a method of a store.
type operation uint8

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
type outcome uint8

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
//
// It passes measurements on to the SDK in batches. One call of the SDK runs through so much code that a request loses
// more time by what that drives out of the processor's caches than by the call itself; of many calls in a row, only the
// first does it. A batch is passed on when it is full, when it is a second old and another measurement comes, and
// before the SDK collects.
type operationMeter struct {
	spans    *atomic.Bool // a request may have a span
	duration metric.Float64Histogram
	attrs    [operations][outcomes][]metric.RecordOption
	batches  [8]batch // so that two processors seldom want the same one
	swept    atomic.Int64
}

// batch are measurements on their way to the SDK.
type batch struct {
	mu    sync.Mutex
	since time.Duration // of the first one
	n     int
	took  [64]measurement
}

type measurement struct {
	took time.Duration
	op   operation
	out  outcome
}

// newOperationMeter returns a meter for a store, which sweeps or not.
func newOperationMeter(meter metric.Meter, system string, sweeps bool,
	spans *atomic.Bool) (*operationMeter, error) {
	m := &operationMeter{spans: spans}
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
	swept, err := meter.Int64ObservableCounter("session.store.swept", metric.WithUnit("{record}"),
		metric.WithDescription("Expired records removed from the session store"))
	if err != nil {
		return nil, err
	}
	_, err = meter.RegisterCallback(func(_ context.Context, to metric.Observer) error {
		m.pass()
		if sweeps {
			to.ObserveInt64(swept, m.swept.Load())
		}
		return nil
	}, swept)
	return m, err
}

// record records an operation that ends now.
func (m *operationMeter) record(ctx context.Context, op operation, begun time.Duration, err error) {
	now := clock()
	r := measurement{now - begun, op, outcomeOf(err)}
	if m.spans.Load() && trace.SpanContextFromContext(ctx).IsSampled() {
		m.send(ctx, r) // with the context, so that an exemplar leads to the trace
		return
	}
	b := &m.batches[uint(now)/32%uint(len(m.batches))] // any one
	b.mu.Lock()
	if b.n == 0 {
		b.since = now
	}
	b.took[b.n] = r
	b.n++
	if b.n == len(b.took) || now-b.since > time.Second {
		m.empty(b)
	}
	b.mu.Unlock()
}

func (m *operationMeter) send(ctx context.Context, r measurement) {
	m.duration.Record(ctx, r.took.Seconds(), m.attrs[r.op][r.out]...)
}

// empty passes a batch on. The caller holds its mu.
func (m *operationMeter) empty(b *batch) {
	for _, r := range b.took[:b.n] {
		m.send(context.Background(), r)
	}
	b.n = 0
}

// pass passes all batches on.
func (m *operationMeter) pass() {
	for i := range m.batches {
		b := &m.batches[i]
		b.mu.Lock()
		m.empty(b)
		b.mu.Unlock()
	}
}

// wrap returns s measured. What s can do besides, store.As finds behind it.
func wrap(s store.Store, meter metric.Meter, system string, spans *atomic.Bool) (store.Store, error) {
	lister, lists := store.As[store.Lister](s)
	sweeper, sweeps := store.As[store.Sweeper](s)
	m, err := newOperationMeter(meter, system, sweeps, spans)
	if err != nil {
		return nil, err
	}
	behind := s
	if lists {
		behind = listing{behind, lister, m}
	}
	if sweeps {
		behind = sweeping{behind, sweeper, m}
	}
	stale, _ := store.As[store.StaleLoader](s)
	return &measured{s, m, stale, behind}, nil
}

// measured is a store whose calls are measured. It is a Lister or Sweeper only by those that Unwrap leads to: a type
// for each combination, with the methods of measured promoted, would copy each record once more.
type measured struct {
	store.Store
	meter  *operationMeter
	stale  store.StaleLoader // nil: there is no cache
	behind store.Store
}

// epoch is when clock began.
var epoch = time.Now()

// clock reads the monotonic clock alone: [time.Now] reads two.
func clock() time.Duration { return time.Since(epoch) }

// Unwrap is for [store.As].
func (s *measured) Unwrap() store.Store { return s.behind }

func (s *measured) Load(ctx context.Context, key string) (r store.Record, err error) {
	begun := clock()
	r, err = s.Store.Load(ctx, key)
	s.meter.record(ctx, load, begun, err)
	return r, err
}

// LoadStale implements [store.StaleLoader], if the store that is measured does.
func (s *measured) LoadStale(ctx context.Context, key string) (store.Record, error) {
	if s.stale == nil {
		return store.Record{}, errors.ErrUnsupported
	}
	begun := clock()
	r, err := s.stale.LoadStale(ctx, key)
	if !errors.Is(err, errors.ErrUnsupported) {
		s.meter.record(ctx, loadStale, begun, err)
	}
	return r, err
}

func (s *measured) Create(ctx context.Context, rec store.Record) error {
	begun := clock()
	err := s.Store.Create(ctx, rec)
	s.meter.record(ctx, create, begun, err)
	return err
}

func (s *measured) Replace(ctx context.Context, rec store.Record, version uint64) error {
	begun := clock()
	err := s.Store.Replace(ctx, rec, version)
	s.meter.record(ctx, replace, begun, err)
	return err
}

func (s *measured) Touch(ctx context.Context, key string, version uint64, seen, expires time.Time) error {
	begun := clock()
	err := s.Store.Touch(ctx, key, version, seen, expires)
	s.meter.record(ctx, touch, begun, err)
	return err
}

func (s *measured) Delete(ctx context.Context, key string) error {
	begun := clock()
	err := s.Store.Delete(ctx, key)
	s.meter.record(ctx, remove, begun, err)
	return err
}

// listing lists for a measured store.
type listing struct {
	store.Store
	lister store.Lister
	meter  *operationMeter
}

func (l listing) Unwrap() store.Store { return l.Store }

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
		begun := clock()
		seq(func(r store.Record, err error) bool {
			took += clock() - begun
			if err != nil {
				failed = err
			}
			more := yield(r, err)
			begun = clock()
			return more
		})
		m.record(ctx, list, begun-took, failed)
	}
}

// sweeping sweeps for a measured store.
type sweeping struct {
	store.Store
	sweeper store.Sweeper
	meter   *operationMeter
}

func (s sweeping) Unwrap() store.Store { return s.Store }

func (s sweeping) Sweep(ctx context.Context, limit int) (int, error) {
	begun := clock()
	n, err := s.sweeper.Sweep(ctx, limit)
	s.meter.record(ctx, sweep, begun, err)
	s.meter.swept.Add(int64(n))
	return n, err
}
