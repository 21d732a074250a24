package dashboards

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/annotations"
	"go.yaml.in/yaml/v3"
)

// Panel is a panel of the dashboard.
type Panel struct {
	Title, Description string
	FieldConfig        struct{ Defaults struct{ Unit string } }
	Targets            []struct{ Expr, LegendFormat string }
}

// Rule is an alert.
type Rule struct {
	Alert, Expr, For string
	Annotations      map[string]string
}

// Read reads sessions.json and alerts.yml of a folder.
func Read(dir string) (panels []Panel, rules []Rule, err error) {
	data, err := os.ReadFile(filepath.Join(dir, "sessions.json"))
	if err != nil {
		return nil, nil, err
	}
	var board struct{ Panels []Panel }
	if err := json.Unmarshal(data, &board); err != nil {
		return nil, nil, err
	}
	if data, err = os.ReadFile(filepath.Join(dir, "alerts.yml")); err != nil {
		return nil, nil, err
	}
	var file struct{ Groups []struct{ Rules []Rule } }
	if err := yaml.Unmarshal(data, &file); err != nil {
		return nil, nil, err
	}
	for _, g := range file.Groups {
		rules = append(rules, g.Rules...)
	}
	return board.Panels, rules, nil
}

var (
	promQL = parser.NewParser(parser.Options{})
	engine = promql.NewEngine(promql.EngineOpts{MaxSamples: 10_000_000, Timeout: time.Minute, Parser: promQL})
)

// parse parses a query. Grafana's rate interval is four scrapes.
func (f *Fleet) parse(query string) (parser.Expr, error) {
	return promQL.ParseExpr(f.interval(query))
}

func (f *Fleet) interval(query string) string {
	return strings.ReplaceAll(query, "$__rate_interval", model.Duration(4*f.Every).String())
}

// Evaluate evaluates a query at each scrape between two times, both included.
func (f *Fleet) Evaluate(query string, from, to time.Time) (promql.Matrix, error) {
	q, err := engine.NewRangeQuery(context.Background(), f, nil, f.interval(query), from, to, f.Every)
	if err != nil {
		return nil, err
	}
	defer q.Close()
	m, err := q.Exec(context.Background()).Matrix()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", query, err)
	}
	return slices.Clone(m), nil // Close takes m back
}

// Fires returns when the alert fires, of the scrapes between two times.
func (f *Fleet) Fires(r Rule, from, to time.Time) (firing []time.Time, err error) {
	m, err := f.Evaluate(r.Expr, from, to)
	if err != nil {
		return nil, err
	}
	pending := time.Duration(0)
	if r.For != "" {
		d, err := model.ParseDuration(r.For)
		if err != nil {
			return nil, fmt.Errorf("alert %s: for: %w", r.Alert, err)
		}
		pending = time.Duration(d)
	}
	since, last := map[string]int64{}, map[string]int64{}
	for _, s := range m {
		name := s.Metric.String()
		for _, p := range s.Floats {
			if before, active := last[name]; !active || before < p.T-f.Every.Milliseconds() {
				since[name] = p.T
			}
			last[name] = p.T
			if p.T-since[name] >= pending.Milliseconds() {
				firing = append(firing, time.UnixMilli(p.T))
			}
		}
	}
	slices.SortFunc(firing, time.Time.Compare)
	return firing, nil
}

// Max returns the largest value of a query between two times; NaN if it has none.
func (f *Fleet) Max(query string, from, to time.Time) (float64, error) {
	m, err := f.Evaluate(query, from, to)
	most := math.NaN()
	for _, s := range m {
		for _, p := range s.Floats {
			if math.IsNaN(most) || p.F > most {
				most = p.F
			}
		}
	}
	return most, err
}

// Querier implements storage.Queryable.
func (f *Fleet) Querier(int64, int64) (storage.Querier, error) {
	choose := func(_ bool, _ *storage.SelectHints, matchers ...*labels.Matcher) storage.SeriesSet {
		list := seriesSet{nil}
		for _, s := range f.matching(matchers) {
			list = append(list, promql.NewStorageSeries(*s))
		}
		return &list
	}
	return &storage.MockQuerier{SelectMockFunction: choose}, nil
}

func (f *Fleet) matching(matchers []*labels.Matcher) (list []*promql.Series) {
	for _, s := range f.series {
		if !slices.ContainsFunc(matchers, func(m *labels.Matcher) bool { return !m.Matches(s.Metric.Get(m.Name)) }) {
			list = append(list, s)
		}
	}
	return list
}

// seriesSet is a storage.SeriesSet: the first of the list is what At returns, nil before the first Next.
type seriesSet []storage.Series

func (s *seriesSet) Next() bool {
	*s = (*s)[min(1, len(*s)):]
	return len(*s) > 0
}

func (s *seriesSet) At() storage.Series                { return (*s)[0] }
func (s *seriesSet) Err() error                        { return nil }
func (s *seriesSet) Warnings() annotations.Annotations { return nil }
