package otelsession

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/hipflask/session"
)

var (
	outcomesOfSessions = []session.Outcome{
		session.OutcomeFound, session.OutcomeNone, session.OutcomeStored, session.OutcomeUnchanged,
		session.OutcomeDropped,
		session.OutcomeUnavailable, session.OutcomeContention, session.OutcomeUncertain, session.OutcomeCanceled,
		session.OutcomeFailed,
	}
	saveKinds = []session.SaveKind{
		session.SaveCreate, session.SaveChange, session.SaveMove, session.SaveTake, session.SaveTouch, session.SaveEnd,
	}
)

type savedAs struct {
	kind    session.SaveKind
	outcome session.Outcome
}

// tracer records the figures of loads and saves, and makes their spans. Its attribute sets are made once.
type tracer struct {
	tracer trace.Tracer

	loads, saves, waits  metric.Float64Histogram
	loadBytes, saveBytes metric.Int64Histogram
	attempts, conflicts  metric.Int64Counter

	loaded map[session.Outcome][]metric.RecordOption
	saved  map[savedAs][]metric.RecordOption
}

// Of a session in memory a load takes microseconds, and of one that many requests change at once a save takes seconds.
var seconds = metric.WithExplicitBucketBoundaries(1e-5, 1e-4, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10)

var bytes = metric.WithExplicitBucketBoundaries(64, 256, 1024, 4096, 16384, 65536, 262144, 1048576)

func newTracer(meter metric.Meter, t trace.Tracer) (*tracer, error) {
	m := &tracer{tracer: t, loaded: map[session.Outcome][]metric.RecordOption{},
		saved: map[savedAs][]metric.RecordOption{}}
	for _, h := range []struct {
		to         *metric.Float64Histogram
		name, what string
	}{
		{&m.loads, "session.load.duration", "Duration of loads of a session, with all steps"},
		{&m.saves, "session.save.duration", "Duration of saves of a session, with all steps and retries"},
		{&m.waits, "session.save.wait.duration",
			"Time that a save waited for saves of the same session by other requests of this process"},
	} {
		var err error
		if *h.to, err = meter.Float64Histogram(h.name, metric.WithUnit("s"), metric.WithDescription(h.what),
			seconds); err != nil {
			return nil, err
		}
	}
	for _, h := range []struct {
		to         *metric.Int64Histogram
		name, what string
	}{
		{&m.loadBytes, "session.load.size", "Size of the encoded values of a session that was loaded"},
		{&m.saveBytes, "session.save.size", "Size of the encoded values of a session that was stored"},
	} {
		var err error
		if *h.to, err = meter.Int64Histogram(h.name, metric.WithUnit("By"), metric.WithDescription(h.what),
			bytes); err != nil {
			return nil, err
		}
	}
	for _, c := range []struct {
		to               *metric.Int64Counter
		name, unit, what string
	}{
		{&m.attempts, "session.save.attempts", "{attempt}",
			"How often saves were sent, or their session was looked for anew"},
		{&m.conflicts, "session.save.conflicts", "{conflict}", "How often the save of another server came first"},
	} {
		var err error
		if *c.to, err = meter.Int64Counter(c.name, metric.WithUnit(c.unit),
			metric.WithDescription(c.what)); err != nil {
			return nil, err
		}
	}
	for _, o := range outcomesOfSessions {
		outcome := attribute.String("session.outcome", string(o))
		m.loaded[o] = []metric.RecordOption{metric.WithAttributeSet(attribute.NewSet(outcome))}
		for _, k := range saveKinds {
			set := attribute.NewSet(outcome, attribute.String("session.save.kind", string(k)))
			m.saved[savedAs{k, o}] = []metric.RecordOption{metric.WithAttributeSet(set)}
		}
	}
	return m, nil
}

// start begins a span if the request is recorded. Else there is nothing to allocate.
func (m *tracer) start(ctx context.Context, name string) context.Context {
	if !trace.SpanFromContext(ctx).IsRecording() {
		return ctx
	}
	ctx, _ = m.tracer.Start(ctx, name)
	return ctx
}

// end ends the span of start.
func end(ctx context.Context, outcome session.Outcome, attrs func() []attribute.KeyValue) {
	span := trace.SpanFromContext(ctx)
	if !span.IsRecording() {
		return
	}
	span.SetAttributes(attribute.String("session.outcome", string(outcome)))
	span.SetAttributes(attrs()...)
	switch outcome {
	case session.OutcomeUnavailable, session.OutcomeContention, session.OutcomeUncertain, session.OutcomeFailed:
		span.SetStatus(codes.Error, string(outcome))
	}
	span.End()
}

func (m *tracer) loadDone(ctx context.Context, f session.LoadFigures) {
	m.loads.Record(ctx, f.Duration.Seconds(), m.loaded[f.Outcome]...)
	if f.Outcome == session.OutcomeFound {
		m.loadBytes.Record(ctx, int64(f.Bytes))
	}
	end(ctx, f.Outcome, func() []attribute.KeyValue {
		return []attribute.KeyValue{attribute.Int("session.load.attempts", f.Attempts),
			attribute.Int("session.load.size", f.Bytes)}
	})
}

func (m *tracer) saveDone(ctx context.Context, f session.SaveFigures) {
	m.saves.Record(ctx, f.Duration.Seconds(), m.saved[savedAs{f.Kind, f.Outcome}]...)
	if f.Waited > 0 {
		m.waits.Record(ctx, f.Waited.Seconds())
	}
	if f.Bytes > 0 {
		m.saveBytes.Record(ctx, int64(f.Bytes))
	}
	m.attempts.Add(ctx, int64(f.Attempts))
	if f.Conflicts > 0 {
		m.conflicts.Add(ctx, int64(f.Conflicts))
	}
	end(ctx, f.Outcome, func() []attribute.KeyValue {
		return []attribute.KeyValue{
			attribute.String("session.save.kind", string(f.Kind)), attribute.Int("session.save.attempts", f.Attempts),
			attribute.Int("session.save.conflicts", f.Conflicts),
			attribute.Float64("session.save.wait.duration", f.Waited.Seconds()),
			attribute.Int("session.save.size", f.Bytes),
		}
	})
}

// around returns a Trace that calls those of m inside those of t, which may be nil.
func (m *tracer) around(t *session.Trace) *session.Trace {
	if t == nil {
		t = &session.Trace{}
	}
	outer := *t
	return &session.Trace{
		LoadStart: func(ctx context.Context) context.Context {
			if outer.LoadStart != nil {
				ctx = outer.LoadStart(ctx)
			}
			return m.start(ctx, "session load")
		},
		LoadDone: func(ctx context.Context, f session.LoadFigures) {
			m.loadDone(ctx, f)
			if outer.LoadDone != nil {
				outer.LoadDone(ctx, f)
			}
		},
		SaveStart: func(ctx context.Context, kind session.SaveKind) context.Context {
			if outer.SaveStart != nil {
				ctx = outer.SaveStart(ctx, kind)
			}
			return m.start(ctx, "session save")
		},
		SaveDone: func(ctx context.Context, f session.SaveFigures) {
			m.saveDone(ctx, f)
			if outer.SaveDone != nil {
				outer.SaveDone(ctx, f)
			}
		},
	}
}
