package sqlitestore_test

import (
	"context"
	"strings"
	"testing"

	"modernc.org/sqlite"

	"github.com/hipflask/session/store/internal/sqltest"
	"github.com/hipflask/session/store/sqlitestore"
)

// Every method is one statement, and finds its rows by an index, as EXPLAIN says.
func TestPlans(t *testing.T) {
	t.Parallel()
	path := file(t)
	r := new(sqltest.Recorder)
	db := r.Open(&sqlite.Driver{}, "file:"+path)
	t.Cleanup(func() { db.Close() })
	s, err := sqlitestore.New(db, nil)
	if err != nil {
		t.Fatal(err)
	}
	sqltest.Migrated(t, s, nil)
	rec := sqltest.Create(t, s, sqltest.NewRecord("ann"))
	plans := database(t, path)
	index := map[string]string{
		"Load": "sqlite_autoindex_hipflask_sessions_1", "Principal": "hipflask_sessions_principal",
		"Sweep": "hipflask_sessions_deadline",
	}
	for _, name := range []string{"Replace", "Touch", "Delete", "All"} {
		index[name] = index["Load"]
	}
	for name, call := range sqltest.Calls(s, rec) {
		if index[name] == "" {
			continue
		}
		r.Take()
		if err := call(t.Context()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		sent := r.Take()
		if len(sent) != 1 {
			t.Errorf("%s: got %d statements, want 1", name, len(sent))
		}
		for _, statement := range sent {
			rows, err := plans.QueryContext(context.Background(), "EXPLAIN QUERY PLAN "+statement.Text,
				statement.Args...)
			if err != nil {
				t.Fatal(err)
			}
			var plan strings.Builder
			for rows.Next() {
				var id, parent, unused int
				var detail string
				if err := rows.Scan(&id, &parent, &unused, &detail); err != nil {
					t.Fatal(err)
				}
				plan.WriteString(detail + "\n")
			}
			if err := rows.Err(); err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(plan.String(), index[name]) || strings.Contains(plan.String(), "SCAN hip") {
				t.Errorf("%s: got the plan\n%s\nwant one by %s", name, &plan, index[name])
			}
		}
		if err := s.Delete(t.Context(), rec.Key); err != nil {
			t.Fatal(err)
		}
		sqltest.Create(t, s, rec)
	}
}
