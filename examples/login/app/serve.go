package app

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/hipflask/session"
	"github.com/hipflask/session/dbsc"
	"github.com/hipflask/session/flask"
	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/filestore"
	"github.com/hipflask/session/store/memstore"
)

// Store is a store that can be closed.
type Store interface {
	store.Store
	Close() error
}

// Run serves until ctx ends, then lets requests in flight finish, and closes the sessions and their store last. name is
// the program's, args are its arguments, out takes what it says, and open opens the store of a URL: [Open] or one that
// knows more.
func Run(ctx context.Context, name string, args []string, getenv func(string) string, out io.Writer,
	open func(ctx context.Context, url string) (Store, error)) error {
	flags := flag.NewFlagSet(name, flag.ContinueOnError)
	flags.SetOutput(out)
	addr := flags.String("addr", "127.0.0.1:8080", "`address` to listen on")
	where := flags.String("store", "", "where sessions are kept: a `URL`, memory: or file:DIR; SESSION_STORE "+
		"in the environment does as well\n(default \"file:DIR\" with a private temporary folder)")
	key := flags.String("secret-key", "", "`secret` that signs the cookies; SECRET_KEY in the environment "+
		"is better, since other users can see arguments")
	https := flags.Bool("https", false, "a proxy in front serves https: send the cookie with Secure, "+
		"also from 127.0.0.1")
	bind := flags.Bool("dbsc", false, "bind sessions to the browser's device (Device Bound Session Credentials), "+
		"over https on localhost")
	shared := flags.Bool("flask", false, "share the login with the application of Flask's tutorial: "+
		"the session is in Flask's cookie, signed with its SECRET_KEY")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q; see %s -help", flags.Arg(0), name)
	}
	if *key == "" {
		*key = getenv("SECRET_KEY")
	}
	switch {
	case *shared && (*where != "" || *bind):
		return errors.New("-flask excludes -store and -dbsc: the session is in Flask's cookie")
	case *shared && *key == "":
		return errors.New("-flask needs the Flask application's key in SECRET_KEY")
	case *shared:
		*where = "memory:" // nothing is kept there
	}
	if *where == "" {
		*where = getenv("SESSION_STORE")
	}
	if *where == "" {
		*where = DefaultStore()
	}

	listener, err := net.Listen("tcp", *addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("%s is in use by another program; choose another port with -addr, such as "+
			"-addr 127.0.0.1:8081", *addr)
	} else if err != nil {
		return fmt.Errorf("can't listen: %w", err)
	}
	defer listener.Close()

	opening, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	store, err := open(opening, *where)
	if err != nil {
		return err
	}
	defer store.Close()
	if *key == "" {
		if *key, err = ownKey(name, *where, out); err != nil {
			return err
		}
	}
	config := session.Config{
		SecretKey: *key,
		Store:     store,
		MaxBytes:  64 << 10, // far more than it needs, and within what memcached takes
		// Over plain http a browser drops Secure cookies. Behind a proxy with TLS they must be Secure: -https says
		// that.
		InsecureHTTP: listener.Addr().(*net.TCPAddr).IP.IsLoopback() && !*https && !*bind,
	}
	if *shared { // in the tutorial the user is session["username"]
		config.Store, config.CookieCodec, config.Cookie.Name = nil, flask.Options{UserKey: "username"}.Cookie, "session"
	}
	sessions, err := session.New(config)
	if err != nil {
		return err
	}
	defer sessions.Close()

	address := "http://" + listener.Addr().String()
	var device *dbsc.Server
	if *bind {
		if device, err = dbsc.New(sessions, dbsc.Options{}); err != nil {
			return err
		}
		address = fmt.Sprintf("https://localhost:%d", listener.Addr().(*net.TCPAddr).Port)
		if listener, err = secured(listener, name, out); err != nil {
			return err
		}
	}
	server := &http.Server{Handler: newApp(sessions, device), ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout: 2 * time.Minute}
	fmt.Fprintf(out, "%s: open %s/\n", name, address)
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

// DefaultStore is the URL of the store that Run uses if no other is named.
func DefaultStore() string {
	return "file:" + filepath.Join(os.TempDir(), fmt.Sprintf("hipflask-login-%d", os.Getuid()))
}

// Open opens a store in files or in memory. It needs no client of a database, so that the example compiles quickly. Its
// error contains nothing of the URL but its scheme.
func Open(_ context.Context, url string) (Store, error) {
	scheme, path, found := strings.Cut(url, ":")
	switch {
	case scheme == "memory" && found && path == "":
		return memory{memstore.New(nil)}, nil
	case scheme == "file" && path != "" && !strings.Contains(path, "?"):
		files, err := filestore.Open(strings.TrimPrefix(path, "//"), nil)
		if err != nil {
			return nil, err
		}
		return files, nil
	}
	return nil, errors.New("-store: this program knows memory: and file:DIR alone; " +
		"hipflask serve --store URL (in a clone: go run ./cmd/hipflask serve) knows every store")
}

// memory is a memstore that can be closed.
type memory struct{ *memstore.Store }

func (memory) Close() error { return nil }

// ownKey returns a secret key for sessions that only this machine has.
func ownKey(name, where string, out io.Writer) (string, error) {
	scheme, path, _ := strings.Cut(where, ":")
	switch scheme {
	case "memory":
		return session.NewSecretKey(), nil // the sessions end with this process anyway
	case "file":
		dir, _, _ := strings.Cut(strings.TrimPrefix(path, "//"), "?")
		return keepKey(name, filepath.Join(dir, "secret_key"), out)
	}
	return "", fmt.Errorf("-store %s: needs a secret key, the same for all processes: "+
		"export SECRET_KEY=$(hipflask keygen), or SECRET_KEY=$(openssl rand -base64 32)", scheme)
}

// keepKey makes a secret key once and keeps it in a file that only this user can read, so that a restart logs nobody
// out. The folder is the file store's, which has checked that it is private.
func keepKey(name, path string, out io.Writer) (string, error) {
	key, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		key = []byte(session.NewSecretKey())
		var f *os.File
		if f, err = os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600); err == nil {
			_, err = f.Write(key)
			err = errors.Join(err, f.Close())
		}
		if err == nil {
			fmt.Fprintf(out, "%s: no SECRET_KEY given, made one and keep it in %s\n", name, path)
		}
	}
	if err != nil {
		return "", fmt.Errorf("can't keep a secret key: %w; set SECRET_KEY", err)
	}
	return strings.TrimSpace(string(key)), nil
}
