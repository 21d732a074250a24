// Command visits is a server whose sessions count visits in Redis, with telemetry or without. Processes that get the
// same $SECRET_KEY share their sessions.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"net/http"
	"os"
	"runtime"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/hipflask/session"
	"github.com/hipflask/session/otelsession"
	"github.com/hipflask/session/store/redisstore"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:8080", "`address` to listen on")
	url := flag.String("store", "", "`URL` of Redis")
	telemetry := flag.Bool("telemetry", false, "measure by OpenTelemetry's SDK, without sampled traces")
	flag.Parse()
	kept, err := redisstore.Open(context.Background(), *url, nil)
	if err != nil {
		log.Fatal(err)
	}
	config := session.Config{Store: kept, SecretKey: os.Getenv("SECRET_KEY"), InsecureHTTP: true}
	if *telemetry {
		opts := &otelsession.Options{
			System:         "redis",
			MeterProvider:  sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewManualReader())),
			TracerProvider: sdktrace.NewTracerProvider(sdktrace.WithSampler(sdktrace.NeverSample())),
		}
		if err := otelsession.Instrument(&config, opts); err != nil {
			log.Fatal(err)
		}
	}
	m, err := session.New(config)
	if err != nil {
		log.Fatal(err)
	}
	ballast := make([]byte, 64<<20) // as package measure has it
	visits := session.Key[int]("visits")
	app := m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := session.From(r)
		if r.Method == http.MethodPost {
			visits.Update(s, func(n int) int { return n + 1 })
		}
		fmt.Fprint(w, visits.Or(s, 0))
	}))
	err = http.ListenAndServe(*addr, app)
	runtime.KeepAlive(ballast)
	log.Fatal(err)
}
