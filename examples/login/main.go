// Command login is the application that Flask's session tutorials show, with what a real one needs: a login that lasts,
// flash messages, a count of visits, the page of one's own devices, and a page that needs a second factor. Package app
// is all of it.
//
//	go run ./examples/login
//
// It listens on 127.0.0.1:8080 (-addr) and keeps its sessions in files of a private temporary folder, or with -store
// memory: in memory. "hipflask serve" is the same application on any store. With -dbsc sessions are bound to the
// browser's device, so that a copied cookie is worth nothing after minutes: see docs/dbsc.md.
// With -flask it shares its login with the application of Flask's tutorial: "go run ./examples/login/flask" runs both.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/hipflask/session/examples/login/app"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := app.Run(ctx, "login", os.Args[1:], os.Getenv, os.Stderr, app.Open)
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "login:", err)
		os.Exit(1)
	}
}
