// Package admin is a page on which an administrator sees who is logged in, and ends sessions: one, or all of a user.
//
//	page := admin.New(sessions, &admin.Options{Prefix: "/admin/sessions"})
//	mux.Handle("/admin/sessions/", onlyAdmins(page))
//
// The page is served as it is: no script, no files beside it. It refuses forged requests of other sites by itself.
//
// # Security
//
// New does not ask who is there: whoever reaches the page can end everybody's sessions, and reads names and labels.
// Mount it behind your own authorization, as above. It never shows IDs, cookies or stored values.
//
// # Cost
//
// The list, with its sums and search, reads the list of all sessions, once for each page that is shown, for at most
// [Options].Patience; one page at a time. The sessions of one user come from the store's index.
package admin

import (
	"context"
	"embed"
	"errors"
	"html/template"
	"net/http"
	"strings"
	"time"

	"github.com/hipflask/session"
)

// Options are the settings of the page. Nil and the zero value are the defaults.
type Options struct {
	// Title stands above each page. Empty: "Sessions".
	Title string

	// Patience bounds how long one page may read the list of all sessions. What it shows then is of those that it came
	// to, and it says so. Zero: 5 seconds.
	Patience time.Duration

	// PageSize is the number of sessions on a page. Zero: 50. At most 1000.
	PageSize int

	// Prefix is the path below which the page is mounted, such as "/admin/sessions". Empty: none, or [http.StripPrefix]
	// takes it away before.
	Prefix string

	// Administrator returns who sent a request: [session.Event].Actor of the sessions that it ends. Nil: who is logged
	// in in the request's session, if the page is inside of a Handler; else nobody.
	Administrator func(*http.Request) string
}

//go:embed pages.html style.css
var files embed.FS

var pages = template.Must(template.New("").Funcs(functions).ParseFS(files, "pages.html"))

type page struct {
	sessions *session.Manager
	title    string
	patience time.Duration
	size     int
	who      func(*http.Request) string
	turn     chan struct{} // holds a token: one reader of the whole list at a time
}

// New returns the page. Its links are relative, so it can be mounted anywhere, at a path that ends with a slash. The
// store of the Manager has to list its sessions; else every page says that it can't.
func New(sessions *session.Manager, options *Options) http.Handler {
	if options == nil {
		options = &Options{}
	}
	p := &page{
		sessions: sessions, title: options.Title, patience: options.Patience, size: min(options.PageSize, 1000),
		turn: make(chan struct{}, 1), who: options.Administrator,
	}
	if p.title == "" {
		p.title = "Sessions"
	}
	if p.patience <= 0 {
		p.patience = 5 * time.Second
	}
	if p.who == nil {
		p.who = func(r *http.Request) string {
			if s, ok := session.FromContext(r.Context()); ok {
				return s.Principal()
			}
			return ""
		}
	}
	if p.size <= 0 {
		p.size = 50
	}
	p.turn <- struct{}{}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", p.list)
	mux.HandleFunc("GET /end", p.askEnd)
	mux.HandleFunc("POST /end", p.end)
	mux.HandleFunc("GET /end-all", p.askEndAll)
	mux.HandleFunc("POST /end-all", p.endAll)
	mux.Handle("GET /style.css", http.FileServerFS(files))
	page := headers(http.NewCrossOriginProtection().Handler(mux))
	prefix := strings.TrimSuffix(options.Prefix, "/")
	if prefix == "" {
		return page
	}
	below := http.StripPrefix(prefix, page)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == prefix: // relative links need the slash
			http.Redirect(w, r, prefix+"/", http.StatusMovedPermanently)
		case strings.HasPrefix(r.URL.Path, prefix+"/"):
			below.ServeHTTP(w, r)
		default:
			http.NotFound(w, r)
		}
	})
}

// acting is the context of a request that ends sessions.
func (p *page) acting(r *http.Request) context.Context {
	return session.WithActor(r.Context(), p.who(r))
}

// headers forbids everything that the page does not need: scripts, frames, forms to elsewhere. Addresses hold names of
// users, and leave this site with no link.
func headers(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; form-action 'self'; "+
			"base-uri 'none'; frame-ancestors 'none'")
		h.Set("Referrer-Policy", "same-origin")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		r.Body = http.MaxBytesReader(w, r.Body, 64<<10)
		next.ServeHTTP(w, r)
	})
}

// fail answers with what went wrong, in words for an administrator. The store's own words may hold more than is good to
// show, and are in the log.
func (p *page) fail(w http.ResponseWriter, r *http.Request, err error, ended int) {
	v := view{Title: p.title, Heading: "That did not work", Ended: ended}
	status := http.StatusServiceUnavailable
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		status = http.StatusNotImplemented
		v.Problem = "The store of these sessions can't list them. If the store wraps another one, give it Unwrap."
	case errors.Is(err, session.ErrUncertain):
		v.Problem = "The store failed in the middle: the session may have been ended or not. Look at " +
			"the list, and try again."
	case errors.Is(err, session.ErrUnavailable), errors.Is(err, context.DeadlineExceeded):
		v.Problem = "The store can't be reached, or is too slow. Try again."
	default:
		status, v.Problem = http.StatusInternalServerError,
			"Something unexpected happened. The log of the application may tell more."
	}
	p.show(w, status, "problem", v)
}
