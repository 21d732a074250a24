package dashboards

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	exporter "go.opentelemetry.io/otel/exporters/prometheus"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.yaml.in/yaml/v3"

	"github.com/hipflask/session"
	"github.com/hipflask/session/otelsession"
	"github.com/hipflask/session/sessiontest"
	"github.com/hipflask/session/store/memstore"
)

// exposed is what a scrape of a program shows: the labels of each series, its name among them.
type exposed []labels.Labels

// scrape runs an application whose store goes through all that the queries ask for, and returns what Prometheus would
// read.
func scrape(t *testing.T) exposed {
	t.Helper()
	registry := prometheus.NewRegistry()
	reader, err := exporter.New(exporter.WithRegisterer(registry))
	if err != nil {
		t.Fatal(err)
	}
	provider := sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))
	t.Cleanup(func() { provider.Shutdown(context.Background()) })

	memory := memstore.New(&memstore.Options{MaxSessions: 2})
	failing := &sessiontest.FailStore{Store: memory}
	config := session.Config{SecretKey: session.NewSecretKey(), InsecureHTTP: true, Store: failing}
	if err := otelsession.Instrument(&config,
		&otelsession.Options{System: "redis", MeterProvider: provider}); err != nil {
		t.Fatal(err)
	}
	sessions := sessiontest.New(t, func(c *session.Config) {
		key := c.SecretKey
		*c = config
		c.SecretKey = key
	})
	visits := session.Key[int]("visits")
	mux := http.NewServeMux()
	mux.HandleFunc("/login", func(_ http.ResponseWriter, r *http.Request) { sessions.From(r).Login("ann") })
	mux.HandleFunc("/visit", func(_ http.ResponseWriter, r *http.Request) {
		visits.Update(sessions.From(r), func(n int) int { return n + 1 })
	})
	h := sessions.Handler(mux)
	do := func(path, cookie string) string {
		r := httptest.NewRequestWithContext(t.Context(), "POST", "http://shop.test"+path, nil)
		r.Header.Set("Cookie", cookie)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		for _, c := range w.Result().Cookies() {
			cookie = c.Name + "=" + c.Value
		}
		return cookie
	}
	cookie := do("/login", "")
	do("/visit", cookie)
	do("/visit", "session=made-by-hand")

	overtaken(t, sessions, do, cookie)
	for _, outage := range []error{errors.New("down"), context.DeadlineExceeded} {
		failing.Fail(outage)
		do("/visit", cookie)
	}
	failing.Fail(nil)
	if err := sessions.Ping(t.Context()); err != nil { // loads what isn't there
		t.Fatal(err)
	}
	if n, err := sessions.RevokeAll(t.Context(), "ann"); n == 0 || err != nil {
		t.Fatal(n, err)
	}
	for range 3 { // evicts
		do("/login", "")
	}
	mux.HandleFunc("/logout", func(_ http.ResponseWriter, r *http.Request) { sessions.From(r).Logout() })
	do("/logout", do("/login", ""))
	for _, e := range []session.Event{ // what no short run makes happen
		{Kind: session.EventEmptied}, {Kind: session.EventClock}, {Kind: session.EventUncertain},
		{Kind: session.EventUndecodable},
		{Kind: session.EventContention}, {Kind: session.EventTooLate},
		{Kind: session.EventRejected, Reason: session.ReasonSignature},
	} {
		config.OnEvent(t.Context(), e)
	}
	config.Trace.LoadDone(t.Context(), session.LoadFigures{Outcome: session.OutcomeFailed})
	for _, outcome := range []session.Outcome{
		session.OutcomeUnavailable, session.OutcomeContention, session.OutcomeUncertain, session.OutcomeFailed,
	} {
		figures := session.SaveFigures{Kind: session.SaveChange, Outcome: outcome,
			Attempts: 1, Waited: time.Millisecond}
		config.Trace.SaveDone(t.Context(), figures)
	}
	return read(t, registry)
}

func read(t *testing.T, registry *prometheus.Registry) (list exposed) {
	w := httptest.NewRecorder()
	promhttp.HandlerFor(registry, promhttp.HandlerOpts{}).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	parse := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parse.TextToMetricFamilies(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	for name, family := range families {
		for _, m := range family.GetMetric() {
			b := labels.NewBuilder(labels.EmptyLabels())
			for _, l := range m.GetLabel() {
				b.Set(l.GetName(), l.GetValue())
			}
			suffixes := []string{""}
			if m.GetHistogram() != nil {
				suffixes = []string{"_bucket", "_sum", "_count"}
			}
			for _, suffix := range suffixes {
				list = append(list, b.Set("__name__", name+suffix).Labels())
			}
		}
	}
	return list
}

// overtaken makes a save meet another one that came first.
func overtaken(t *testing.T, m *session.Manager, do func(path, cookie string) string, cookie string) {
	t.Helper()
	_, token, _ := strings.Cut(cookie, "=")
	s, err := m.Load(t.Context(), token)
	if err != nil {
		t.Fatal(err)
	}
	do("/visit", cookie) // stores a version that s doesn't know
	visits := session.Key[int]("visits")
	visits.Update(s, func(n int) int { return n + 1 })
	if err := s.Save(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// query is a query of the dashboard or of the alerts.
type query struct{ where, text string }

func queries(t *testing.T) (list []query) {
	t.Helper()
	data, err := os.ReadFile("../../docs/dashboards/sessions.json")
	if err != nil {
		t.Fatal(err)
	}
	var board struct {
		Panels []struct {
			Title       string
			Description string
			Targets     []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(data, &board); err != nil {
		t.Fatal(err)
	}
	for _, p := range board.Panels {
		if len(p.Targets) == 0 || p.Description == "" {
			t.Errorf("panel %q has no query, or no description", p.Title)
		}
		for _, target := range p.Targets {
			list = append(list, query{"panel " + p.Title, target.Expr})
		}
	}
	data, err = os.ReadFile("../../docs/dashboards/alerts.yml")
	if err != nil {
		t.Fatal(err)
	}
	var rules struct {
		Groups []struct {
			Rules []struct {
				Alert, Expr string
				For         string
				Annotations map[string]string
			}
		}
	}
	if err := yaml.Unmarshal(data, &rules); err != nil {
		t.Fatal(err)
	}
	for _, g := range rules.Groups {
		for _, r := range g.Rules {
			if r.Alert == "" || r.Annotations["summary"] == "" || r.Annotations["description"] == "" {
				t.Errorf("alert %q lacks a name, summary or description", r.Alert)
			}
			if _, err := model.ParseDuration(r.For); r.For != "" && err != nil {
				t.Errorf("alert %s: for: %v", r.Alert, err)
			}
			list = append(list, query{"alert " + r.Alert, r.Expr})
		}
	}
	if len(list) < 15 {
		t.Fatalf("found %d queries", len(list))
	}
	return list
}

// TestQueries: every selector of every query finds what a run exposes, and every label that one groups by is there.
func TestQueries(t *testing.T) {
	run := scrape(t)
	parse := parser.NewParser(parser.Options{})
	for _, q := range queries(t) {
		text := strings.ReplaceAll(q.text, "$__rate_interval", "5m")
		expr, err := parse.ParseExpr(text)
		if err != nil {
			t.Errorf("%s: %v", q.where, err)
			continue
		}
		var found exposed
		parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
			if v, ok := node.(*parser.VectorSelector); ok {
				found = append(found, run.matching(v.LabelMatchers)...)
				for _, matchers := range alternatives(v.LabelMatchers) {
					if len(run.matching(matchers)) == 0 {
						t.Errorf("%s: the run does not expose %v", q.where, matchers)
					}
				}
			}
			return nil
		})
		parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
			if a, ok := node.(*parser.AggregateExpr); ok {
				for _, name := range a.Grouping {
					if name != "le" && name != "instance" &&
						!slices.ContainsFunc(found, func(l labels.Labels) bool { return l.Has(name) }) {
						t.Errorf("%s: nothing that it reads has the label %s", q.where, name)
					}
				}
			}
			return nil
		})
	}
}

func (e exposed) matching(matchers []*labels.Matcher) (list exposed) {
	for _, l := range e {
		if !slices.ContainsFunc(matchers, func(m *labels.Matcher) bool { return !m.Matches(l.Get(m.Name)) }) {
			list = append(list, l)
		}
	}
	return list
}

// alternatives returns the matchers with each alternative of a regular expression "a|b|c" alone.
func alternatives(matchers []*labels.Matcher) (list [][]*labels.Matcher) {
	list = append(list, matchers)
	for i, m := range matchers {
		if m.Type != labels.MatchRegexp {
			continue
		}
		for value := range strings.SplitSeq(m.Value, "|") {
			single := slices.Clone(matchers)
			single[i] = labels.MustNewMatcher(labels.MatchEqual, m.Name, value)
			list = append(list, single)
		}
	}
	return list
}
