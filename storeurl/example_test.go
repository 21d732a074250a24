package storeurl_test

import (
	"context"
	"log"
	"os"
	"time"

	"github.com/hipflask/session"
	"github.com/hipflask/session/storeurl"
)

func ExampleOpen() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	s, err := storeurl.Open(ctx, os.Getenv("SESSION_STORE")) // such as redis://localhost/0
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()

	sessions, err := session.New(session.Config{SecretKey: os.Getenv("SECRET_KEY"), Store: s})
	if err != nil {
		log.Fatal(err)
	}
	defer sessions.Close() // leaves the store open
}
