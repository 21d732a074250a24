package flasktables

import (
	"database/sql"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	_ "modernc.org/sqlite"

	"github.com/hipflask/session/flask/flasksql"
	"github.com/hipflask/session/store/sqlitestore"
	"github.com/hipflask/session/store/sqlstore"
)

const sqliteTime = "2006-01-02 15:04:05.000000"

var sqliteTimes = regexp.MustCompile(`^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}$`)

var sqlite = database{
	dialect: flasksql.SQLite,
	place: func(tb testing.TB) place {
		path := filepath.Join(tb.TempDir(), "sessions.db")
		bare := func(tb testing.TB) *sql.DB {
			return connect(tb, "sqlite", "file:"+path+"?_pragma=busy_timeout(10000)")
		}
		return place{
			table: "sessions",
			open: func(tb testing.TB) (sqlstore.DB, error) {
				return sqlitestore.OpenDB(tb.Context(), "sqlite:"+path, nil)
			},
			bare:  bare,
			share: func(tb testing.TB) sqlstore.DB { return sqlitestore.NewDB(bare(tb)) },
		}
	},
	placeholders: sqlstore.SQLite,
	overwrite:    `ON CONFLICT (session_id) DO UPDATE SET data = excluded.data, expiry = excluded.expiry`,
	expiry:       "expiry || ''",
	write:        func(t time.Time) any { return t.Format(sqliteTime) },
	read: func(tb testing.TB, v any) time.Time {
		text, _ := v.(string)
		t, err := time.Parse(sqliteTime, text)
		if err != nil || !sqliteTimes.MatchString(text) {
			tb.Errorf("SQLAlchemy can't read the expiry %q", text)
		}
		return t
	},
}
