package otelsession

import (
	"context"
	"slices"
	"sync/atomic"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/hipflask/session"
)

// The usual ones are the first: a search in a list of them takes less time than one in a map.
var (
	loadOutcomes = []session.Outcome{
		session.OutcomeFound, session.OutcomeNone,
		session.OutcomeUnavailable, session.OutcomeCanceled, session.OutcomeFailed,
	}
	saveOutcomes = []session.Outcome{
		session.OutcomeStored, session.OutcomeUnchanged, session.OutcomeDropped,
		session.OutcomeUnavailable, session.OutcomeContention, session.OutcomeUncertain, session.OutcomeCanceled,
		session.OutcomeFailed,
	}
	saveKinds = []session.SaveKind{
		session.SaveChange, session.SaveCreate, session.SaveMove, session.SaveTake, session.SaveTouch, session.SaveEnd,
	}
)

// tracer records the figures of loads and saves, and makes their spans. What it only counts are numbers of its own,
// which the SDK reads when it collects: to add to one takes a hundredth of the time of a call of the SDK.
type tracer struct {
	tracer trace.Tracer
	spans  *atomic.Bool // a request has had a span

	loads               []atomic.Int64 // for each of loadOutcomes
	attempts, conflicts atomic.Int64

	saves, waits metric.Float64Histogram
	saveBytes    metric.Int64Histogram
	saved        [][][]metric.RecordOption // for each of saveKinds and saveOutcomes
}

// A save in memory takes microseconds, and one of a session that many requests change at once takes seconds.
var seconds = metric.WithExplicitBucketBoundaries(1e-5, 1e-4, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10)

var bytes = metric.WithExplicitBucketBoundaries(64, 256, 1024, 4096, 16384, 65536, 262144, 1048576)

func newTracer(meter metric.Meter, t trace.Tracer, spans *atomic.Bool) (*tracer, error) {
	m := &tracer{tracer: t, spans: spans, loads: make([]atomic.Int64, len(loadOutcomes))}
	for _, h := range []struct {
		to         *metric.Float64Histogram
		name, what string
	}{
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
	var err error
	if m.saveBytes, err = meter.Int64Histogram("session.save.size", metric.WithUnit("By"),
		metric.WithDescription("Size of the encoded values of a session that was stored"), bytes); err != nil {
		return nil, err
	}
	for _, k := range saveKinds {
		var options [][]metric.RecordOption
		for _, o := range saveOutcomes {
			set := attribute.NewSet(attribute.String("session.save.kind", string(k)), outcomeOfSession(o))
			options = append(options, []metric.RecordOption{metric.WithAttributeSet(set)})
		}
		m.saved = append(m.saved, options)
	}
	return m, m.count(meter)
}

func outcomeOfSession(o session.Outcome) attribute.KeyValue {
	return attribute.String("session.outcome", string(o))
}

// count makes the instruments that read what m counts. Two tracers may share a meter: each has a callback of its own,
// and the SDK adds up what they observe.
func (m *tracer) count(meter metric.Meter) error {
	var options []metric.ObserveOption
	for _, o := range loadOutcomes {
		options = append(options, metric.WithAttributeSet(attribute.NewSet(outcomeOfSession(o))))
	}
	var loads, attempts, conflicts metric.Int64ObservableCounter
	for _, c := range []struct {
		to               *metric.Int64ObservableCounter
		name, unit, what string
	}{
		{&loads, "session.loads", "{load}", "Loads of a session, by how they ended"},
		{&attempts, "session.save.attempts", "{attempt}",
			"How often saves were sent, or their session was looked for anew"},
		{&conflicts, "session.save.conflicts", "{conflict}", "How often the save of another server came first"},
	} {
		var err error
		if *c.to, err = meter.Int64ObservableCounter(c.name, metric.WithUnit(c.unit),
			metric.WithDescription(c.what)); err != nil {
			return err
		}
	}
	_, err := meter.RegisterCallback(func(_ context.Context, to metric.Observer) error {
		for i := range m.loads {
			to.ObserveInt64(loads, m.loads[i].Load(), options[i])
		}
		to.ObserveInt64(attempts, m.attempts.Load())
		to.ObserveInt64(conflicts, m.conflicts.Load())
		return nil
	}, loads, attempts, conflicts)
	return err
}

// start begins a span if the request is recorded. Else there is nothing to allocate.
func (m *tracer) start(ctx context.Context, name string) context.Context {
	span := trace.SpanFromContext(ctx)
	if span.SpanContext().IsValid() && !m.spans.Load() {
		m.spans.Store(true)
	}
	if !span.IsRecording() {
		return ctx
	}
	ctx, _ = m.tracer.Start(ctx, name)
	return ctx
}

// started returns the span of start.
func (m *tracer) started(ctx context.Context) (trace.Span, bool) {
	if !m.spans.Load() {
		return nil, false
	}
	span := trace.SpanFromContext(ctx)
	return span, span.IsRecording()
}

// end ends the span of start.
func end(span trace.Span, outcome session.Outcome, attrs ...attribute.KeyValue) {
	span.SetAttributes(outcomeOfSession(outcome))
	span.SetAttributes(attrs...)
	switch outcome {
	case session.OutcomeUnavailable, session.OutcomeContention, session.OutcomeUncertain, session.OutcomeFailed:
		span.SetStatus(codes.Error, string(outcome))
	}
	span.End()
}

func (m *tracer) loadDone(ctx context.Context, f session.LoadFigures) {
	if i := slices.Index(loadOutcomes, f.Outcome); i >= 0 {
		m.loads[i].Add(1)
	}
	if span, recorded := m.started(ctx); recorded {
		end(span, f.Outcome, attribute.Int("session.load.attempts", f.Attempts),
			attribute.Int("session.load.size", f.Bytes))
	}
}

func (m *tracer) saveDone(ctx context.Context, f session.SaveFigures) {
	if k, o := slices.Index(saveKinds, f.Kind), slices.Index(saveOutcomes, f.Outcome); k >= 0 && o >= 0 {
		m.saves.Record(ctx, f.Duration.Seconds(), m.saved[k][o]...)
	}
	if f.Waited > 0 {
		m.waits.Record(ctx, f.Waited.Seconds())
	}
	if f.Bytes > 0 {
		m.saveBytes.Record(ctx, int64(f.Bytes))
	}
	m.attempts.Add(int64(f.Attempts))
	m.conflicts.Add(int64(f.Conflicts))
	if span, recorded := m.started(ctx); recorded {
		end(span, f.Outcome,
			attribute.String("session.save.kind", string(f.Kind)), attribute.Int("session.save.attempts", f.Attempts),
			attribute.Int("session.save.conflicts", f.Conflicts),
			attribute.Float64("session.save.wait.duration", f.Waited.Seconds()),
			attribute.Int("session.save.size", f.Bytes),
		)
	}
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
