package mysqlstore_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"

	"github.com/hipflask/session/internal/servertest"
	"github.com/hipflask/session/store/internal/sqltest"
	"github.com/hipflask/session/store/mysqlstore"
)

// Every method is one statement, and finds its rows by an index, as EXPLAIN says, among many.
func TestPlans(t *testing.T) {
	t.Parallel()
	r := new(sqltest.Recorder)
	db := r.Open(mysql.MySQLDriver{}, owner+"@tcp("+server().Addr+")/"+servertest.User+"?clientFoundRows=true")
	t.Cleanup(func() { db.Close() })
	opts := &mysqlstore.Options{Table: sqltest.Table()}
	s, err := mysqlstore.New(db, opts)
	if err != nil {
		t.Fatal(err)
	}
	sqltest.Migrated(t, s, nil)
	rec := sqltest.Create(t, s, sqltest.NewRecord("ann"))
	run(t, fmt.Sprintf(`INSERT INTO %s SELECT CONCAT('key', seq), 1, IF(seq %% 3 = 0, '', CONCAT('p', seq DIV 5)), '',
		0, 0, 0, seq + UNIX_TIMESTAMP() * 1000 - 1000, 0, '', '', '', '' FROM seq_1_to_20000`, opts.Table),
		"ANALYZE TABLE "+opts.Table)
	index := map[string]string{
		"Load": "PRIMARY", "Replace": "PRIMARY", "Touch": "PRIMARY", "Delete": "PRIMARY", "All": "PRIMARY",
		"Principal": opts.Table + "_principal", "Sweep": opts.Table + "_deadline",
	}
	plans := database(t, owner, "")
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
			var plan string
			if err := plans.QueryRow("EXPLAIN FORMAT=JSON "+statement.Text, statement.Args...).Scan(&plan); err != nil {
				t.Fatal(err)
			}
			if !json.Valid([]byte(plan)) || !strings.Contains(plan, `"key": "`+index[name]+`"`) {
				t.Errorf("%s: got the plan\n%s\nwant one by %s", name, plan, index[name])
			}
		}
		if err := s.Delete(t.Context(), rec.Key); err != nil {
			t.Fatal(err)
		}
		sqltest.Create(t, s, rec)
	}
}
