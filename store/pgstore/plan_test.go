package pgstore_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/hipflask/session/store/internal/sqltest"
	"github.com/hipflask/session/store/pgstore"
)

// tracer keeps the statements that pgx sends.
type tracer struct {
	mu   sync.Mutex
	sent []pgx.TraceQueryStartData
}

func (tr *tracer) TraceQueryStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.sent = append(tr.sent, data)
	return ctx
}

func (tr *tracer) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

func (tr *tracer) take() []pgx.TraceQueryStartData {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	sent := tr.sent
	tr.sent = nil
	return sent
}

// Every method is one statement, and finds its rows by an index, as EXPLAIN says, among many.
func TestPlans(t *testing.T) {
	t.Parallel()
	tr := new(tracer)
	traced := pool(t, server().URL, func(c *pgxpool.Config) { c.ConnConfig.Tracer = tr })
	opts := &pgstore.Options{Table: sqltest.Table()}
	s, err := pgstore.New(traced, opts)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	rec := sqltest.Create(t, s, sqltest.NewRecord("ann"))
	run(t, fmt.Sprintf(`INSERT INTO %[1]s SELECT ('key' || n)::bytea, 1, CASE n %% 3 WHEN 0 THEN ''
		ELSE 'p' || n / 5 END::bytea, '', 0, 0, 0,
		n + (extract(epoch from now()) * 1000)::bigint - 1000, 0, '', '', '', ''
		FROM generate_series(1, 20000) n`,
		opts.Table), "ANALYZE "+opts.Table)
	tr.take()
	// With the values at hand, and without, as it is planned for good after some executions.
	plans := map[string]*pgxpool.Pool{}
	for _, mode := range []string{"force_custom_plan", "force_generic_plan"} {
		plans[mode] = pool(t, server().URL, func(c *pgxpool.Config) {
			c.ConnConfig.RuntimeParams["plan_cache_mode"] = mode
		})
	}
	index := map[string]string{
		"Load": opts.Table + "_pkey", "Replace": opts.Table + "_pkey", "Touch": opts.Table + "_pkey",
		"Delete": opts.Table + "_pkey", "All": opts.Table + "_pkey",
		"Principal": opts.Table + "_principal", "Sweep": opts.Table + "_deadline",
	}
	for name, call := range sqltest.Calls(s, rec) {
		if index[name] == "" {
			continue
		}
		if err := call(t.Context()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		sent := tr.take()
		if want := map[bool]int{true: 2, false: 1}[name == "Replace" || name == "Touch"]; len(sent) > want ||
			len(sent) == 0 {
			t.Errorf("%s: got %d statements, want 1, and another one where a version was not there", name, len(sent))
		}
		for _, statement := range sent {
			for mode, p := range plans {
				plan := explain(t, p, statement)
				if !strings.Contains(plan, index[name]) || strings.Contains(plan, "Seq Scan") {
					t.Errorf("%s, %s: got the plan\n%s\nwant one by %s", name, mode, plan, index[name])
				}
			}
		}
		if err := s.Delete(t.Context(), rec.Key); err != nil {
			t.Fatal(err)
		}
		sqltest.Create(t, s, rec)
		tr.take()
	}
}

// explain returns the plan of a statement that was prepared: an EXPLAIN with arguments would know their values.
func explain(t *testing.T, p *pgxpool.Pool, statement pgx.TraceQueryStartData) string {
	t.Helper()
	var literals []string
	for _, arg := range statement.Args {
		if bytes, ok := arg.([]byte); ok {
			literals = append(literals, fmt.Sprintf(`'\x%x'`, bytes))
		} else {
			literals = append(literals, fmt.Sprint(arg))
		}
	}
	tx, err := p.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(t.Context())
	name := sqltest.Table()
	if _, err := tx.Exec(t.Context(), "PREPARE "+name+" AS "+statement.SQL); err != nil {
		t.Fatal(err)
	}
	rows, err := tx.Query(t.Context(), "EXPLAIN EXECUTE "+name+"("+strings.Join(literals, ", ")+")",
		pgx.QueryExecModeSimpleProtocol)
	if err != nil {
		t.Fatal(err)
	}
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(lines, "\n")
}
