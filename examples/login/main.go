// Command login is the application that Flask's session tutorials show, with what a real one needs: a login that lasts,
// flash messages, a count of visits, and a list of one's own sessions.
//
//	go run ./examples/login
//
// It listens on 127.0.0.1:8080 and keeps its sessions in files of a private temporary folder.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/hipflask/session"
	"github.com/hipflask/session/store/filestore"
	"github.com/hipflask/session/store/memstore"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Getenv, os.Stderr); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "login:", err)
		os.Exit(1)
	}
}

// run serves until ctx ends.
func run(ctx context.Context, args []string, getenv func(string) string, out io.Writer) error {
	flags := flag.NewFlagSet("login", flag.ContinueOnError)
	flags.SetOutput(out)
	addr := flags.String("addr", "127.0.0.1:8080", "`address` to listen on")
	where := flags.String("store", defaultStore(), "where sessions are kept: memory: or file:DIR")
	key := flags.String("secret-key", "", "`secret` that signs the cookies; SECRET_KEY in the environment is better, since other users can see arguments")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q; see login -help", flags.Arg(0))
	}
	if *key == "" {
		*key = getenv("SECRET_KEY")
	}

	listener, err := net.Listen("tcp", *addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("%s is in use by another program; choose another port with -addr, such as -addr 127.0.0.1:8081", *addr)
	} else if err != nil {
		return fmt.Errorf("can't listen: %w", err)
	}
	defer listener.Close()

	config := session.Config{
		// Over plain http a browser drops Secure cookies. Behind a proxy with TLS, listen on another address.
		InsecureHTTP: listener.Addr().(*net.TCPAddr).IP.IsLoopback(),
	}
	closeStore, err := open(&config, *where, *key, out)
	if err != nil {
		return err
	}
	defer closeStore()
	sessions, err := session.New(config)
	if err != nil {
		return err
	}
	defer sessions.Close()

	server := &http.Server{Handler: newApp(sessions), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute}
	fmt.Fprintf(out, "login: open http://%s/\n", listener.Addr())
	stopped := make(chan error, 1)
	go func() {
		<-ctx.Done()
		grace, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		stopped <- server.Shutdown(grace)
	}()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return <-stopped
}

func defaultStore() string {
	return "file:" + filepath.Join(os.TempDir(), fmt.Sprintf("hipflask-login-%d", os.Getuid()))
}

// open sets the store and the secret key.
func open(config *session.Config, where, key string, out io.Writer) (closeStore func() error, err error) {
	kind, dir, _ := strings.Cut(where, ":")
	switch {
	case kind == "memory" && dir == "":
		if key == "" {
			key = session.NewSecretKey() // the sessions end with this process anyway
		}
		config.Store, config.SecretKey = memstore.New(nil), key
		return func() error { return nil }, nil
	case kind == "file" && dir != "":
		files, err := filestore.Open(dir, nil)
		if err != nil {
			return nil, err
		}
		if key == "" {
			if key, err = keepKey(filepath.Join(dir, "secret_key"), out); err != nil {
				files.Close()
				return nil, err
			}
		}
		config.Store, config.SecretKey = files, key
		return files.Close, nil
	}
	return nil, fmt.Errorf("-store %q is neither memory: nor file:DIR", where)
}

// keepKey makes a secret key once and keeps it in a file that only this user can read, so that a restart logs nobody
// out. The folder is the file store's, which has checked that it is private.
func keepKey(path string, out io.Writer) (string, error) {
	key, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		key = []byte(session.NewSecretKey())
		var f *os.File
		if f, err = os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600); err == nil {
			_, err = f.Write(key)
			err = errors.Join(err, f.Close())
		}
		if err == nil {
			fmt.Fprintf(out, "login: no SECRET_KEY given, made one and keep it in %s\n", path)
		}
	}
	if err != nil {
		return "", fmt.Errorf("can't keep a secret key: %w; set SECRET_KEY", err)
	}
	return strings.TrimSpace(string(key)), nil
}
