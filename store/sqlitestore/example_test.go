package sqlitestore_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"modernc.org/sqlite"

	"github.com/hipflask/session"
	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/sqlitestore"
	"github.com/hipflask/session/store/sqlstore"
)

// An application with its sessions in SQLite.
func Example() {
	ctx := context.Background()
	s, err := sqlitestore.Open(ctx, "sqlite:/var/lib/shop/sessions.db", nil)
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	if err := s.Migrate(ctx); err != nil { // makes the table, once
		log.Fatal(err)
	}
	sessions, err := session.New(session.Config{SecretKey: os.Getenv("SECRET_KEY"), Store: s})
	if err != nil {
		log.Fatal(err)
	}
	defer sessions.Close()
	log.Fatal(http.ListenAndServe(":8080", sessions.Handler(http.DefaultServeMux)))
}

// The connections that the application has already, and a table of another name.
func ExampleNew() {
	ctx := context.Background()
	db, err := sql.Open("sqlite", "file:shop.db?_pragma=journal_mode(WAL)&_pragma=busy_timeout(1000)")
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	s, err := sqlitestore.New(db, &sqlitestore.Options{Table: "shop_sessions"})
	if err != nil {
		log.Fatal(err)
	}
	if err := s.Migrate(ctx); err != nil {
		log.Fatal(err)
	}
}

// A store for another database, made of its driver for database/sql. The driver here is one of SQLite, so that the
// example can run; for a database whose SQL is not among those of package sqlstore, write a sqlstore.Dialect, and check
// the store with storetest.Run.
func Example_anotherDatabase() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "example-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	handle, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "shop.db"))
	if err != nil {
		log.Fatal(err)
	}
	db := sqlstore.NewDB(handle, &sqlstore.DBOptions{
		Owned: true,
		Begin: "BEGIN IMMEDIATE", // takes the lock of writers
		Undone: func(err error) bool {
			var lite *sqlite.Error
			return errors.As(err, &lite) && lite.Code()&0xff == 5 // SQLITE_BUSY: nothing has changed
		},
		Clean: func(err error) error {
			var lite *sqlite.Error
			if errors.As(err, &lite) {
				return lite // names tables and columns, no values
			}
			return errors.New("the database is closed")
		},
	})
	s, err := sqlstore.New(db, sqlstore.SQLite, &sqlstore.Options{Name: "shopstore", Table: "shop_sessions"})
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	err = s.Create(ctx, store.Record{Key: "key"})
	fmt.Println(err)
	if err := s.Migrate(ctx); err != nil {
		log.Fatal(err)
	}
	rec := store.Record{Key: "key", Version: store.NewVersion(), Principal: "ann", ExpiresAt: time.Now().Add(time.Hour)}
	if err := s.Create(ctx, rec); err != nil {
		log.Fatal(err)
	}
	fmt.Println(s.Create(ctx, rec))
	for rec, err := range s.Principal(ctx, "ann") {
		fmt.Println(rec.Key, err)
	}
	// Output:
	// shopstore: create: SQL logic error: no such table: shop_sessions (1)
	// store: record exists
	// key <nil>
}
