package pgstore_test

import (
	"context"
	"log"
	"net/http"
	"os"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/hipflask/session"
	"github.com/hipflask/session/store/pgstore"
)

// An application with its sessions in PostgreSQL.
func Example() {
	ctx := context.Background()
	s, err := pgstore.Open(ctx, "postgres://shop:secret@db.example.com/shop?sslmode=verify-full", nil)
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
	pool, err := pgxpool.New(ctx, os.Getenv("DATABASE_URL"))
	if err != nil {
		log.Fatal(err)
	}
	defer pool.Close()
	s, err := pgstore.New(pool, &pgstore.Options{Table: "shop.sessions"})
	if err != nil {
		log.Fatal(err)
	}
	if err := s.Migrate(ctx); err != nil {
		log.Fatal(err)
	}
}
