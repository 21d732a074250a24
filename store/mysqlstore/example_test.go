package mysqlstore_test

import (
	"context"
	"database/sql"
	"log"
	"net/http"
	"os"

	_ "github.com/go-sql-driver/mysql"

	"github.com/hipflask/session"
	"github.com/hipflask/session/store/mysqlstore"
)

// An application with its sessions in MySQL.
func Example() {
	ctx := context.Background()
	s, err := mysqlstore.Open(ctx, "mysql://shop:secret@db.example.com/shop?tls=true", nil)
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
	db, err := sql.Open("mysql", os.Getenv("DSN"))
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	s, err := mysqlstore.New(db, &mysqlstore.Options{Table: "shop_sessions"})
	if err != nil {
		log.Fatal(err)
	}
	if err := s.Migrate(ctx); err != nil {
		log.Fatal(err)
	}
}
