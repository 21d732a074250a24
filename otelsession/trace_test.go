package otelsession_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/codes"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/hipflask/session"
	"github.com/hipflask/session/otelsession"
	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/memstore"
)

// traced returns an application whose requests are recorded, if sampled, and what returns the ended spans.
func traced(t *testing.T, sampled bool, change func(*session.Config)) (http.Handler, func() []string) {
	sampler := sdktrace.AlwaysSample()
	if !sampled {
		sampler = sdktrace.NeverSample()
	}
	recorder := tracetest.NewSpanRecorder()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder), sdktrace.WithSampler(sampler))
	t.Cleanup(func() { provider.Shutdown(context.Background()) })
	opts, _ := meters(t, "")
	opts.TracerProvider = provider
	config := session.Config{Store: memstore.New(nil), SecretKey: secret}
	if change != nil {
		change(&config)
	}
	if err := otelsession.Instrument(&config, opts); err != nil {
		t.Fatal(err)
	}
	sessions, err := session.New(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sessions.Close() })
	h := sessions.Handler(application())
	requests := provider.Tracer("requests")
	seen := 0
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			ctx, span := requests.Start(r.Context(), "request")
			defer span.End()
			h.ServeHTTP(w, r.WithContext(ctx))
		}), func() (list []string) {
			spans := recorder.Ended()[seen:]
			seen += len(spans)
			request := spans[len(spans)-1]
			for _, s := range spans {
				text := s.Name()
				if s.Status().Code == codes.Error {
					text += " failed"
				}
				for _, a := range s.Attributes() {
					if name := string(a.Key); strings.HasSuffix(name, "outcome") || strings.HasSuffix(name, "kind") {
						text += fmt.Sprintf(" %s=%s", name, a.Value.AsString())
					}
				}
				if s != request && s.Parent().SpanID() != request.SpanContext().SpanID() {
					text += " outside of the request"
				}
				list = append(list, text)
			}
			return list
		}
}

func TestSpans(t *testing.T) {
	h, ended := traced(t, true, nil)
	want := func(what string, spans ...string) {
		t.Helper()
		if got := ended(); fmt.Sprint(got) != fmt.Sprint(append(spans, "request")) {
			t.Errorf("%s: got spans %q, want %q", what, got, spans)
		}
	}
	cookie := request(h, "/login", "")
	want("a login", "session save session.outcome=stored session.save.kind=create")
	request(h, "/set", cookie)
	want("a change", "session load session.outcome=found",
		"session save session.outcome=stored session.save.kind=change")
	request(h, "/read", cookie)
	want("a read", "session load session.outcome=found")
	request(h, "/nothing", cookie)
	want("a request that doesn't look")

	failing := false
	h, ended = traced(t, true, func(c *session.Config) { c.Store = failingStore{c.Store, &failing} })
	cookie = request(h, "/login", "")
	ended()
	failing = true
	request(h, "/read", cookie)
	want("an outage", "session load failed session.outcome=unavailable")
}

type failingStore struct {
	store.Store
	failing *bool
}

func (s failingStore) Load(ctx context.Context, key string) (store.Record, error) {
	if *s.failing {
		return store.Record{}, errors.New("down")
	}
	return s.Store.Load(ctx, key)
}

// TestExemplars: a call of the store in a sampled request leads to the request's trace.
func TestExemplars(t *testing.T) {
	reader := sdkmetric.NewManualReader()
	metrics := sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))
	spans := sdktrace.NewTracerProvider()
	t.Cleanup(func() { metrics.Shutdown(context.Background()); spans.Shutdown(context.Background()) })
	s, err := otelsession.Store(memstore.New(nil), &otelsession.Options{MeterProvider: metrics})
	if err != nil {
		t.Fatal(err)
	}
	ctx, span := spans.Tracer("requests").Start(t.Context(), "request")
	defer span.End()
	s.Load(ctx, "absent")
	var data metricdata.ResourceMetrics
	if err := reader.Collect(t.Context(), &data); err != nil {
		t.Fatal(err)
	}
	want := span.SpanContext().TraceID()
	for _, m := range data.ScopeMetrics[0].Metrics {
		if h, ok := m.Data.(metricdata.Histogram[float64]); ok {
			for _, e := range h.DataPoints[0].Exemplars {
				if string(e.TraceID) == string(want[:]) {
					return
				}
			}
		}
	}
	t.Errorf("got %+v, want an exemplar of trace %s", data.ScopeMetrics, want)
}

// The application's own Trace is called as well, around ours.
func TestOwnTrace(t *testing.T) {
	var called []string
	h, _ := traced(t, true, func(c *session.Config) {
		c.Trace = &session.Trace{
			LoadStart: func(ctx context.Context) context.Context { called = append(called, "load"); return ctx },
			LoadDone:  func(context.Context, session.LoadFigures) { called = append(called, "loaded") },
			SaveStart: func(ctx context.Context, _ session.SaveKind) context.Context {
				called = append(called, "save")
				return ctx
			},
			SaveDone: func(context.Context, session.SaveFigures) { called = append(called, "saved") },
		}
	})
	request(h, "/set", request(h, "/login", ""))
	if got := fmt.Sprint(called); got != "[save saved load loaded save saved]" {
		t.Errorf("got %s", got)
	}
}

// TestDocumentedNames: docs/operate.md speaks of nothing that isn't recorded.
func TestDocumentedNames(t *testing.T) {
	page, err := os.ReadFile("../docs/operate.md")
	if err != nil {
		t.Fatal(err)
	}
	source := ""
	for _, file := range []string{"otelsession.go", "store.go", "trace.go"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		source += string(text)
	}
	names := regexp.MustCompile("`((?:session|db)\\.[a-z_.]+)`").FindAllStringSubmatch(string(page), -1)
	for _, name := range names {
		if !strings.Contains(source, `"`+name[1]+`"`) {
			t.Errorf("docs/operate.md: %s is not recorded", name[1])
		}
	}
	if len(names) < 10 {
		t.Errorf("found %d names in docs/operate.md", len(names))
	}
}
