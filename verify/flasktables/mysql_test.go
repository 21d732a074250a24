package flasktables

import (
	"database/sql"
	"sync"
	"testing"
	"time"

	_ "github.com/go-sql-driver/mysql"

	"github.com/hipflask/session/flask/flasksql"
	"github.com/hipflask/session/internal/servertest"
	"github.com/hipflask/session/store/mysqlstore"
	"github.com/hipflask/session/store/sqlstore"
	"github.com/hipflask/session/store/storetest"
)

var mariadbServer = sync.OnceValue(func() *servertest.Server {
	return servertest.MariaDB(servertest.Shared, "--max-connections=1000")
})

var mariadb = database{
	dialect: flasksql.MySQL,
	place: func(testing.TB) place {
		name := func() string {
			return servertest.User + ":" + servertest.Password + "@tcp(" + mariadbServer().Addr + ")/" +
				servertest.User + "?parseTime=true"
		}
		return place{
			table: newTable(),
			open: func(tb testing.TB) (sqlstore.DB, error) {
				return mysqlstore.OpenDB(tb.Context(), mariadbServer().URL)
			},
			bare:  func(tb testing.TB) *sql.DB { return connect(tb, "mysql", name()) },
			share: func(tb testing.TB) sqlstore.DB { return mysqlstore.NewDB(connect(tb, "mysql", name())) },
		}
	},
	options: []storetest.Option{
		storetest.CoarseExpiry(2 * time.Second), storetest.MaxData(40_000),
		storetest.Except("KeysAreOpaque", "Flask's table compares names without regard to case"),
	},
	placeholders: sqlstore.MySQL,
	overwrite:    `ON DUPLICATE KEY UPDATE data = VALUES(data), expiry = VALUES(expiry)`,
	expiry:       "expiry",
	write:        func(t time.Time) any { return t },
	read:         func(_ testing.TB, v any) time.Time { return v.(time.Time) },
}
