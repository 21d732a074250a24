//go:build !race

// The race detector changes what is allocated: ./test runs this without it.

package otelsession_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/hipflask/session"
	"github.com/hipflask/session/otelsession"
	"github.com/hipflask/session/store/memstore"
)

// TestCostAllocations: telemetry adds no allocation to a request that reads or changes its session and is not sampled.
func TestCostAllocations(t *testing.T) {
	for _, path := range []string{"/read", "/set"} {
		var counts [2]float64
		for i, measured := range []bool{false, true} {
			config := session.Config{Store: memstore.New(nil), SecretKey: secret}
			if opts, _ := meters(t, "redis"); measured {
				opts.TracerProvider = sdktrace.NewTracerProvider(sdktrace.WithSampler(sdktrace.NeverSample()))
				if err := otelsession.Instrument(&config, opts); err != nil {
					t.Fatal(err)
				}
			}
			sessions, err := session.New(config)
			if err != nil {
				t.Fatal(err)
			}
			defer sessions.Close()
			names := []string{"Ann", "Ben"}
			h := sessions.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/read" {
					name.Get(session.From(r))
				} else {
					name.Set(session.From(r), names[0])
				}
			}))
			r := httptest.NewRequest("POST", "https://shop.test"+path, nil)
			r.Header.Set("Cookie", request(sessions.Handler(application()), "/login", ""))
			w := httptest.NewRecorder()
			counts[i] = testing.AllocsPerRun(1000, func() {
				names[0], names[1] = names[1], names[0]
				h.ServeHTTP(w, r)
			})
		}
		if counts[1] > counts[0] {
			t.Errorf("%s: %v allocations with telemetry, %v without", path, counts[1], counts[0])
		}
	}
}
