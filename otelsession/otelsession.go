// Package otelsession measures and traces sessions with OpenTelemetry.
//
//	st, err := redisstore.Open(ctx, os.Getenv("REDIS_URL"), nil)
//	if err != nil {
//		log.Fatal(err)
//	}
//	config := session.Config{Store: st, SecretKey: key}
//	if err := otelsession.Instrument(&config, &otelsession.Options{System: "redis"}); err != nil {
//		log.Fatal(err)
//	}
//	sessions, err := session.New(config)
//
// # Metrics
//
// Durations are histograms in seconds. Attributes name kinds alone: never an ID, a key, a principal, or another value
// whose number has no bound.
//
//   - db.client.operation.duration: each operation of a store that is a database, by db.system.name, db.operation.name,
//     session.store.outcome and, where it failed, error.type.
//   - session.store.operation.duration: the same of any other store, by session.store.operation and
//     session.store.outcome.
//   - session.loads: counts loads by session.outcome, whose values are those of [session.Outcome].
//   - session.save.duration: of each save with all its steps, by session.outcome and session.save.kind, whose values
//     are those of [session.SaveKind].
//   - session.save.size, in bytes: the encoded values of a session that was stored.
//   - session.save.attempts and session.save.conflicts: count how often saves were sent, and how often another server's
//     came first.
//   - session.save.wait.duration: of saves that waited for others of the same session in this process.
//   - session.events: counts [session.Event] by session.event.kind and, of what was rejected, dropped or revoked, by
//     session.event.reason. "evicted" is among the kinds. Kinds to be alerted to are there, as 0, before they happen.
//   - session.store.swept: counts the expired records that [session.Manager] has removed from a store without expiry.
//
// The operations are load, load_stale (which the store's cache may answer), create, replace, touch, delete, list and
// sweep. The outcomes are ok, not_found, exists, conflict, and of those that failed timeout, canceled and error.
//
// # Traces
//
// A request that is recorded has a span for each load and each save of its session, "session load" and "session save",
// with these figures as attributes. A request that doesn't look at its session has none, nor has one without a span of
// its own: let the middleware that makes that be outside of [session.Manager.Handler]. The spans of the store's client,
// if it makes some, are inside.
package otelsession

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/hipflask/session"
	"github.com/hipflask/session/store"
)

const scope = "github.com/hipflask/session/otelsession"

// Options are the settings of [Instrument] and [Store]. The zero value is for a store that is no database, with the
// global providers.
type Options struct {
	// System is the name of the database that keeps the sessions, as the semantic conventions of OpenTelemetry have it
	// in db.system.name: "redis", "postgresql", "mysql", "mariadb", "sqlite", "memcached". Empty: the store is no
	// database.
	System string

	// MeterProvider records the metrics. Nil: the one of [otel.GetMeterProvider].
	MeterProvider metric.MeterProvider

	// TracerProvider makes the spans. Nil: the one of [otel.GetTracerProvider].
	TracerProvider trace.TracerProvider
}

func (o *Options) tracer() trace.Tracer {
	if o == nil || o.TracerProvider == nil {
		return otel.Tracer(scope)
	}
	return o.TracerProvider.Tracer(scope)
}

func (o *Options) meter() metric.Meter {
	if o == nil || o.MeterProvider == nil {
		return otel.Meter(scope)
	}
	return o.MeterProvider.Meter(scope)
}

func (o *Options) system() string {
	if o == nil {
		return ""
	}
	return o.System
}

// Instrument makes the sessions of config measure what they do. It wraps config.Store, and sets config.OnEvent and
// config.Trace to functions that call those that were there as well. Call it once, right before [session.New]. opts may
// be nil.
//
// It returns an error if config has neither a Store nor a CookieCodec, since the calls of the default store, which New
// opens, could not be measured: open it with [github.com/hipflask/session/store/filestore.Open].
func Instrument(config *session.Config, opts *Options) error {
	if config.Store == nil && config.CookieCodec == nil {
		return errors.New("otelsession: Config.Store is nil: open the store, with filestore.Open for " +
			"example, and set it")
	}
	var spans atomic.Bool
	if config.Store != nil {
		measured, err := measure(config.Store, opts, &spans)
		if err != nil {
			return err
		}
		config.Store = measured
	}
	count, err := newEventCounter(opts.meter())
	if err != nil {
		return err
	}
	t, err := newTracer(opts.meter(), opts.tracer(), &spans)
	if err != nil {
		return err
	}
	config.Trace = t.around(config.Trace)
	before := config.OnEvent
	config.OnEvent = func(ctx context.Context, e session.Event) {
		count.add(ctx, e)
		if before != nil {
			before(ctx, e)
		}
	}
	return nil
}

// Store returns s measured, for programs that use a store without a [session.Manager]. What [store.As] finds in s, it
// finds in the result. opts may be nil.
func Store(s store.Store, opts *Options) (store.Store, error) {
	var spans atomic.Bool
	spans.Store(true)
	return measure(s, opts, &spans)
}

// measure returns s measured. spans is set once a request has a span: until then nobody needs to look for one.
func measure(s store.Store, opts *Options, spans *atomic.Bool) (store.Store, error) {
	return wrap(s, opts.meter(), opts.system(), spans)
}

// maxEvents bounds the number of time series of events: the kinds with their reasons are about 30, but an IDFormat may
// make up reasons of its own.
const maxEvents = 64

type eventName struct {
	kind   session.EventKind
	reason session.Reason
}

// eventCounter counts events. The attributes of each name are made once.
type eventCounter struct {
	counter metric.Int64Counter
	other   []metric.AddOption

	mu    sync.RWMutex
	attrs map[eventName][]metric.AddOption
}

func newEventCounter(meter metric.Meter) (*eventCounter, error) {
	counter, err := meter.Int64Counter("session.events", metric.WithUnit("{event}"),
		metric.WithDescription("What happened to sessions, by kind and reason"))
	if err != nil {
		return nil, err
	}
	c := &eventCounter{
		counter: counter,
		other:   addOptions(eventName{kind: "other"}),
		attrs:   map[eventName][]metric.AddOption{},
	}
	for _, name := range fromTheBeginning {
		counter.Add(context.Background(), 0, c.options(name)...)
	}
	return c, nil
}

// fromTheBeginning are what an operator is alerted to, and what a login tells of. They are exposed as 0 before they
// happen: Prometheus takes the first value of a series for what was there before, so it would not see the first ones.
var fromTheBeginning = []eventName{
	{session.EventCreated, ""}, {session.EventLogin, ""}, {session.EventLogout, ""},
	{session.EventEvicted, ""}, {session.EventTooLate, ""}, {session.EventUndecodable, ""},
	{session.EventUnavailable, ""},
	{session.EventContention, ""}, {session.EventUncertain, ""}, {session.EventFailed, ""}, {session.EventEmptied, ""},
	{session.EventClock, ""},
	{session.EventRejected, session.ReasonMalformed}, {session.EventRejected, session.ReasonSignature},
	{session.EventRejected, session.ReasonIdle}, {session.EventRejected, session.ReasonLifetime},
	{session.EventRejected, session.ReasonUnknown}, {session.EventRejected, session.ReasonEnded},
	{session.EventRejected, session.ReasonReplaced}, {session.EventRejected, session.ReasonUndecodable},
}

func addOptions(name eventName) []metric.AddOption {
	attrs := []attribute.KeyValue{attribute.String("session.event.kind", string(name.kind))}
	if name.reason != "" {
		attrs = append(attrs, attribute.String("session.event.reason", string(name.reason)))
	}
	return []metric.AddOption{metric.WithAttributeSet(attribute.NewSet(attrs...))}
}

func (c *eventCounter) add(ctx context.Context, e session.Event) {
	name := eventName{e.Kind, e.Reason}
	switch e.Kind {
	case session.EventCreated, session.EventLogin: // the rejected cookie before was counted with it
		name.reason = ""
	}
	c.counter.Add(ctx, 1, c.options(name)...)
}

func (c *eventCounter) options(name eventName) []metric.AddOption {
	c.mu.RLock()
	opts, known := c.attrs[name]
	c.mu.RUnlock()
	if known {
		return opts
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.attrs) >= maxEvents {
		return c.other
	}
	opts = addOptions(name)
	c.attrs[name] = opts
	return opts
}
