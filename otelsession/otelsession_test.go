package otelsession_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/hipflask/session"
	"github.com/hipflask/session/otelsession"
	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/memstore"
	"github.com/hipflask/session/store/storetest"
)

var secret = "3d4f6a0c9be8172f5a60c4d8e3b19f07a5528c6b1e9d40f7"

// meters returns options that record metrics, and a function that returns what was recorded: the number of records, or
// the sum of a counter, by the name of the metric and its attributes.
func meters(t testing.TB, system string, more ...sdkmetric.Option) (*otelsession.Options, func() map[string]int64) {
	reader := sdkmetric.NewManualReader()
	provider := sdkmetric.NewMeterProvider(append(more, sdkmetric.WithReader(reader))...)
	t.Cleanup(func() { provider.Shutdown(context.Background()) })
	return &otelsession.Options{System: system, MeterProvider: provider}, func() map[string]int64 {
		t.Helper()
		var data metricdata.ResourceMetrics
		if err := reader.Collect(context.Background(), &data); err != nil {
			t.Fatal(err)
		}
		found := map[string]int64{}
		for _, scope := range data.ScopeMetrics {
			for _, m := range scope.Metrics {
				switch d := m.Data.(type) {
				case metricdata.Sum[int64]:
					for _, p := range d.DataPoints {
						found[m.Name+" "+p.Attributes.Encoded(attribute.DefaultEncoder())] += p.Value
					}
				case metricdata.Histogram[float64]:
					for _, p := range d.DataPoints {
						found[m.Name+" "+p.Attributes.Encoded(attribute.DefaultEncoder())] += int64(p.Count)
					}
				case metricdata.Histogram[int64]:
					for _, p := range d.DataPoints {
						found[m.Name+" "+p.Attributes.Encoded(attribute.DefaultEncoder())] += int64(p.Count)
					}
				default:
					t.Errorf("%s is a %T", m.Name, d)
				}
			}
		}
		return found
	}
}

func TestStoreWrapper(t *testing.T) {
	storetest.Wrapper(t, func(s store.Store) store.Store {
		opts, _ := meters(t, "")
		measured, err := otelsession.Store(s, opts)
		if err != nil {
			t.Fatal(err)
		}
		return measured
	}, storetest.Bubble())
}

func expect(t *testing.T, found, want map[string]int64) {
	t.Helper()
	for name, n := range want {
		if found[name] != n {
			t.Errorf("%s: %d, want %d", name, found[name], n)
		}
	}
	if t.Failed() {
		for name, n := range found {
			t.Logf("recorded: %s: %d", name, n)
		}
	}
}

func TestOperations(t *testing.T) {
	opts, recorded := meters(t, "redis")
	s, err := otelsession.Store(memstore.New(nil), opts)
	if err != nil {
		t.Fatal(err)
	}
	s.Load(t.Context(), "absent")
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	s.Load(canceled, "absent")
	lister, _ := store.As[store.Lister](s)
	for range lister.All(t.Context()) {
	}
	expect(t, recorded(), map[string]int64{
		"db.client.operation.duration db.operation.name=load,db.system.name=redis,session.store.outcome=not_found": 1,
		"db.client.operation.duration db.operation.name=load,db.system.name=redis,error.type=canceled," +
			"session.store.outcome=canceled": 1,
		"db.client.operation.duration db.operation.name=list,db.system.name=redis,session.store.outcome=ok": 1,
	})
}

// request calls the handler and returns the cookie that it sets, or the one that it was given.
func request(h http.Handler, path, cookie string) string {
	r := httptest.NewRequest("POST", "https://shop.test"+path, nil)
	if cookie != "" {
		r.Header.Set("Cookie", cookie)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	for _, c := range w.Result().Cookies() {
		return c.Name + "=" + c.Value
	}
	return cookie
}

var name = session.Key[string]("name")

func application() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/login", func(_ http.ResponseWriter, r *http.Request) { session.From(r).Login("ann") })
	mux.HandleFunc("/set", func(_ http.ResponseWriter, r *http.Request) { name.Set(session.From(r), "Ann") })
	mux.HandleFunc("/read", func(_ http.ResponseWriter, r *http.Request) { name.Get(session.From(r)) })
	mux.HandleFunc("/nothing", func(http.ResponseWriter, *http.Request) {})
	return mux
}

func TestInstrument(t *testing.T) {
	opts, recorded := meters(t, "")
	var kinds []session.EventKind
	config := session.Config{Store: memstore.New(nil), SecretKey: secret,
		OnEvent: func(_ context.Context, e session.Event) { kinds = append(kinds, e.Kind) }}
	if err := otelsession.Instrument(&config, opts); err != nil {
		t.Fatal(err)
	}
	sessions, err := session.New(config)
	if err != nil {
		t.Fatal(err)
	}
	defer sessions.Close()
	h := sessions.Handler(application())
	cookie := request(h, "/login", "")
	cookie = request(h, "/set", cookie)
	request(h, "/read", cookie)
	request(h, "/nothing", cookie)
	request(h, "/read", "__Host-session=hand-made")
	expect(t, recorded(), map[string]int64{
		"session.store.operation.duration session.store.operation=load,session.store.outcome=ok":    2,
		"session.store.operation.duration session.store.operation=create,session.store.outcome=ok":  1,
		"session.store.operation.duration session.store.operation=replace,session.store.outcome=ok": 1,
		"session.loads session.outcome=found":                                                       2,
		"session.loads session.outcome=none":                                                        1,
		"session.save.duration session.outcome=stored,session.save.kind=create":                     1,
		"session.save.duration session.outcome=stored,session.save.kind=change":                     1,
		"session.save.size ":                      2,
		"session.save.attempts ":                  2,
		"session.events session.event.kind=login": 1,
		"session.events session.event.kind=rejected,session.event.reason=malformed": 1,
	})
	if len(kinds) < 2 {
		t.Errorf("the application's own OnEvent got %v", kinds)
	}
}

// TestNoSecrets: no attribute of any metric has an ID, a key or a principal.
func TestNoSecrets(t *testing.T) {
	opts, recorded := meters(t, "sqlite")
	config := session.Config{Store: memstore.New(nil), SecretKey: secret}
	if err := otelsession.Instrument(&config, opts); err != nil {
		t.Fatal(err)
	}
	sessions, err := session.New(config)
	if err != nil {
		t.Fatal(err)
	}
	defer sessions.Close()
	h := sessions.Handler(application())
	cookie := request(h, "/login", "")
	sessions.RevokeAll(t.Context(), "ann")
	request(h, "/read", cookie)
	_, token, _ := strings.Cut(cookie, "=")
	for name := range recorded() {
		for _, secret := range []string{"ann", token[:20], secret[:8]} {
			if strings.Contains(name, secret) {
				t.Errorf("%s has %q", name, secret)
			}
		}
	}
}

func TestInstrumentWithoutStore(t *testing.T) {
	err := otelsession.Instrument(&session.Config{SecretKey: secret}, nil)
	if err == nil || !strings.Contains(err.Error(), "Config.Store") {
		t.Errorf("got %v", err)
	}
	codec := session.Config{SecretKey: secret, CookieCodec: session.EncryptedCookie}
	if err := otelsession.Instrument(&codec, nil); err != nil || codec.Store != nil {
		t.Errorf("with a CookieCodec: %v, store %v", err, codec.Store)
	}
}

// TestAlarmsFromTheBeginning: Prometheus computes an increase from a value before, so the first event of a kind that is
// never normal must not be the first value of its series.
func TestAlarmsFromTheBeginning(t *testing.T) {
	opts, recorded := meters(t, "")
	config := session.Config{Store: memstore.New(nil), SecretKey: secret}
	if err := otelsession.Instrument(&config, opts); err != nil {
		t.Fatal(err)
	}
	found := recorded()
	for _, kind := range []string{"emptied", "clock", "evicted", "contention", "unavailable", "uncertain",
		"failed", "too late",
		"rejected,session.event.reason=signature", "rejected,session.event.reason=unknown"} {
		if n, there := found["session.events session.event.kind="+kind]; !there || n != 0 {
			t.Errorf("%s: %d, there: %t", kind, n, there)
		}
	}
	config.OnEvent(t.Context(), session.Event{Kind: session.EventLogin, Reason: session.ReasonUnknown})
	expect(t, recorded(), map[string]int64{"session.events session.event.kind=login": 1})
}

func events(found map[string]int64) (n int) {
	for name := range found {
		if strings.HasPrefix(name, "session.events ") {
			n++
		}
	}
	return n
}

// TestBatches: no measurement is lost or counted twice, whoever collects meanwhile.
func TestBatches(t *testing.T) {
	opts, recorded := meters(t, "redis")
	s, err := otelsession.Store(memstore.New(nil), opts)
	if err != nil {
		t.Fatal(err)
	}
	const loads = "db.client.operation.duration db.operation.name=load,db.system.name=redis," +
		"session.store.outcome=not_found"
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 1000 {
				s.Load(t.Context(), "absent")
			}
		})
	}
	for range 10 {
		recorded()
	}
	all.Wait()
	expect(t, recorded(), map[string]int64{loads: 4000})
	s.Load(t.Context(), "absent")
	expect(t, recorded(), map[string]int64{loads: 4001})
}

// TestBatchesWithoutCallback: if a View drops the instrument whose callback passes batches on, they are at most a
// second old when the next measurement comes.
func TestBatchesWithoutCallback(t *testing.T) {
	drop := sdkmetric.NewView(sdkmetric.Instrument{Name: "session.store.swept"},
		sdkmetric.Stream{Aggregation: sdkmetric.AggregationDrop{}})
	opts, recorded := meters(t, "", sdkmetric.WithView(drop))
	synctest.Test(t, func(t *testing.T) {
		s, err := otelsession.Store(memstore.New(nil), opts)
		if err != nil {
			t.Fatal(err)
		}
		const loads = "session.store.operation.duration session.store.operation=load," +
			"session.store.outcome=not_found"
		s.Load(t.Context(), "absent")
		expect(t, recorded(), map[string]int64{loads: 0})
		time.Sleep(2 * time.Second)
		s.Load(t.Context(), "absent")
		expect(t, recorded(), map[string]int64{loads: 2})
	})
}

// TestTwoManagers: what two Managers of one process count is added up.
func TestTwoManagers(t *testing.T) {
	opts, recorded := meters(t, "")
	for range 2 {
		config := session.Config{Store: memstore.New(nil), SecretKey: secret}
		if err := otelsession.Instrument(&config, opts); err != nil {
			t.Fatal(err)
		}
		sessions, err := session.New(config)
		if err != nil {
			t.Fatal(err)
		}
		defer sessions.Close()
		h := sessions.Handler(application())
		request(h, "/read", request(h, "/login", ""))
	}
	for range 2 { // what has been read is not forgotten
		expect(t, recorded(), map[string]int64{
			"session.loads session.outcome=found": 2,
			"session.save.attempts ":              2,
			"session.save.conflicts ":             0,
			"session.store.operation.duration session.store.operation=load,session.store.outcome=ok": 2,
		})
	}
}

// TestReasonsAreBounded: an IDFormat that makes up a reason for each request fills no memory.
func TestReasonsAreBounded(t *testing.T) {
	opts, recorded := meters(t, "")
	config := session.Config{Store: memstore.New(nil), SecretKey: secret}
	if err := otelsession.Instrument(&config, opts); err != nil {
		t.Fatal(err)
	}
	before := events(recorded())
	for i := range 1000 {
		config.OnEvent(t.Context(), session.Event{Kind: session.EventRejected,
			Reason: session.Reason(strings.Repeat("x", i)),
			Err:    errors.New("refused")})
	}
	found := recorded()
	if n := events(found); n > 65 {
		t.Errorf("%d time series", n)
	}
	if n := found["session.events session.event.kind=other"]; n != int64(1000-64+before) {
		t.Errorf("other: %d", n)
	}
}
