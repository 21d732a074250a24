package main

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hipflask/session"
	"github.com/hipflask/session/admin"
	"github.com/hipflask/session/store/memstore"
	"github.com/spf13/cobra"
)

func (a *app) admin() *cobra.Command {
	var addr string
	c := &cobra.Command{
		Use:   "admin",
		Short: "Serve a web page to look into sessions and end them",
		Long: `admin serves a web page that lists sessions, finds those of a user, and ends them, until Ctrl-C.

It prints an address with a token. The first browser that opens it gets a cookie; the token works once. It listens on
this machine only, unless --addr says otherwise; then put TLS in front of it, or the token travels in the clear.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.with(c.Context(), func(p *place, m *session.Manager) error {
				return a.serveAdmin(c.Context(), addr, admin.New(m, &admin.Options{Title: "Sessions in " + p.name}))
			})
		},
	}
	c.Flags().StringVar(&addr, "addr", "127.0.0.1:8081", "`address` to listen on; port 0 is a free one")
	return c
}

func (a *app) serveAdmin(ctx context.Context, addr string, page http.Handler) error {
	l, err := listen(addr)
	if err != nil {
		return err
	}
	at := l.Addr().(*net.TCPAddr)
	token := session.NewSecretKey()
	guarded, err := gate(token, at.Port, page)
	if err != nil {
		return err
	}
	url := fmt.Sprintf("http://%s/?token=%s", l.Addr(), token)
	if a.json {
		if err := a.object(struct {
			URL string `json:"url"`
		}{url}); err != nil {
			return err
		}
	} else {
		fmt.Fprintf(a.out, "open %s\n", url)
	}
	if !at.IP.IsLoopback() {
		fmt.Fprintln(a.errs, "hipflask: other machines can reach this page; without TLS in front of "+
			"it the token travels in the clear")
	}
	return serveUntil(ctx, l, guarded)
}

// gate lets in who knows the token: once by the address, then by a session of its own. Cookies don't tell ports apart,
// so the cookie's name does.
func gate(token string, port int, page http.Handler) (http.Handler, error) {
	sessions, err := session.New(session.Config{
		SecretKey: session.NewSecretKey(), Store: memstore.New(nil), InsecureHTTP: true, IdleTimeout: -1, Lifetime: -1,
		Cookie: session.Cookie{Name: "hipflask-admin-" + strconv.Itoa(port)},
	})
	if err != nil {
		return nil, err
	}
	var used atomic.Bool
	return sessions.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("Referrer-Policy", "same-origin")
		s := session.From(r)
		allowed := s.Principal() != ""
		right := subtle.ConstantTimeCompare([]byte(r.URL.Query().Get("token")), []byte(token)) == 1
		switch {
		case right && r.Method == http.MethodGet && (allowed || used.CompareAndSwap(false, true)):
			s.Login("hipflask admin")
			http.Redirect(w, r, "/", http.StatusSeeOther) // the token leaves the address bar
		case allowed:
			page.ServeHTTP(w, r)
		default:
			http.Error(w, "Open the address that hipflask admin printed. Its token works once, in one "+
				"browser; start the command again for another.", http.StatusForbidden)
		}
	})), nil
}

func listen(addr string) (net.Listener, error) {
	l, err := net.Listen("tcp", addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("%s is in use by another program; choose another port with --addr, such "+
			"as --addr 127.0.0.1:0", addr)
	} else if err != nil {
		return nil, fmt.Errorf("can't listen on %s: %w", addr, err)
	}
	return l, nil
}

// serveUntil serves until ctx ends, and then lets running requests finish.
func serveUntil(ctx context.Context, l net.Listener, h http.Handler) error {
	server := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute}
	stopped := make(chan error, 1)
	go func() {
		<-ctx.Done()
		grace, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		stopped <- server.Shutdown(grace)
	}()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return <-stopped
}
