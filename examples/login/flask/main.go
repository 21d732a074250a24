// Command flask runs the application of Flask's tutorial and the login example side by side, with one login for both:
// who logs in or out in one of them does so in the other.
//
//	python3 -m pip install flask
//	go run ./examples/login/flask
//
// Flask has a port of 127.0.0.1, Go another one. A browser sends the cookies of a host to all of its ports.
package main

import (
	"bufio"
	"context"
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"os/signal"
	"regexp"
	"syscall"

	"github.com/hipflask/session"
	"github.com/hipflask/session/examples/login/app"
)

//go:embed app.py
var application string

func main() {
	addr := flag.String("addr", "127.0.0.1:8080", "`address` of the Go application")
	port := flag.Int("flask-port", 5000, "`port` of the Flask application, on 127.0.0.1")
	python := flag.String("python", "python3", "`interpreter` that has Flask")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *addr, *port, *python); err != nil {
		log.Fatal("flask: ", err)
	}
}

func run(ctx context.Context, addr string, port int, python string) error {
	key := os.Getenv("SECRET_KEY")
	if key == "" {
		key = session.NewSecretKey() // both get it; logins end with this process
	}
	cmd := exec.CommandContext(ctx, python, "-c", fmt.Sprintf("%s\napp.run(port=%d)", application, port))
	cmd.Env = append(os.Environ(), "SECRET_KEY="+key)
	said, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("can't start the Flask application: %w", err)
	}
	defer func() {
		cmd.Process.Kill()
		cmd.Wait()
	}()
	lines := bufio.NewReader(said)
	url, err := flaskURL(lines)
	if err != nil {
		return fmt.Errorf("%w\nit needs: %s -m pip install flask", err, python)
	}
	go io.Copy(io.Discard, lines) // its log of requests
	fmt.Fprintf(os.Stderr, "flask: the Flask application is at %s/\n", url)
	getenv := func(name string) string {
		if name == "SECRET_KEY" {
			return key
		}
		return os.Getenv(name)
	}
	return app.Run(ctx, "login", []string{"-flask", "-addr", addr}, getenv, os.Stderr, app.Open)
}

var running = regexp.MustCompile(`Running on (http://\S+)`)

// flaskURL returns where Flask listens, as it says itself.
func flaskURL(said *bufio.Reader) (string, error) {
	trouble := ""
	for {
		line, err := said.ReadString('\n')
		if found := running.FindStringSubmatch(line); found != nil {
			return found[1], nil
		}
		if trouble += line; err != nil {
			return "", errors.New("the Flask application ended: " + trouble)
		}
	}
}
