package outage_test

import (
	"database/sql"
	"path/filepath"
	"testing"

	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/hipflask/session/internal/servertest"
	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/sqlitestore"
)

// sqlite is a file on a small disk. It has no server that could be away; but others who use the file.
func sqlite(t *testing.T) *service {
	disk := servertest.NewDisk(t, nil, "16m")
	file := filepath.Join(disk.Dir, "sessions.db")
	s := &service{open: func() (store.Store, func()) {
		t.Helper()
		return opening(t, func() (store.Store, error) {
			s, err := sqlitestore.Open(t.Context(), "sqlite:"+file, nil)
			return migrated(t.Context(), s, err)
		})
	}}
	s.others = []kind{
		{name: "file locked", happens: func(x *trial) {
			db, err := sql.Open("sqlite", file)
			if err != nil {
				x.t.Fatal(err)
			}
			defer db.Close()
			db.SetMaxOpenConns(1)
			if _, err := db.ExecContext(x.t.Context(), "PRAGMA busy_timeout = 10000; BEGIN IMMEDIATE"); err != nil {
				x.t.Fatal(err)
			}
			x.fails()
			x.site.Read(x.t.Context(), 1)
			if _, err := db.ExecContext(x.t.Context(), "COMMIT"); err != nil {
				x.t.Fatal(err)
			}
		}},
		{name: "disk full", happens: func(x *trial) { x.full(disk) }},
	}
	return s
}
