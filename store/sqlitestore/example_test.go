package sqlitestore_test

import (
	"context"
	"database/sql"
	"log"
	"net/http"
	"os"

	_ "modernc.org/sqlite"

	"github.com/hipflask/session"
	"github.com/hipflask/session/store/sqlitestore"
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
