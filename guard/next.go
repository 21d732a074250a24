package guard

import (
	"html/template"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/hipflask/session"
)

// maxNext bounds the length of a way back.
const maxNext = 2048

// Next returns where to go after a login: the parameter next of the query, or else of the form, if the handler has
// parsed it. Only a path on this site is accepted, with its query, never another site; else Next returns fallback.
func Next(r *http.Request, fallback string) string {
	next := r.URL.Query().Get("next")
	if next == "" && r.PostForm != nil {
		next = r.PostForm.Get("next")
	}
	if !local(next) {
		return fallback
	}
	return next
}

// Why returns why a guard has redirected the user here: "fresh" or "level"; "" for a login, or without a guard. Only if
// it is "" may a login page redirect users who are logged in.
func Why(r *http.Request) string {
	why := r.URL.Query().Get("why")
	if why == "" && r.PostForm != nil {
		why = r.PostForm.Get("why")
	}
	if why != "fresh" && why != "level" {
		return ""
	}
	return why
}

// local reports whether a browser that is redirected to next stays on this site. Browsers take a backslash for a slash,
// and leave out tabs and line ends (https://url.spec.whatwg.org/#concept-basic-url-parser). A proxy may decode once
// more.
func local(next string) bool {
	if len(next) > maxNext || !utf8.ValidString(next) ||
		strings.ContainsFunc(next, func(c rune) bool { return c <= ' ' || c == 0x7f }) {
		return false
	}
	path, _, _ := strings.Cut(next, "?")
	path, _, _ = strings.Cut(path, "#")
	decoded, err := url.PathUnescape(path)
	if err != nil {
		return false
	}
	for _, p := range []string{path, decoded} {
		if !strings.HasPrefix(p, "/") || len(p) > 1 && (p[1] == '/' || p[1] == '\\') ||
			strings.ContainsAny(p, "\\\t\r\n\x00") {
			return false
		}
	}
	return true
}

// requested returns the path and query that the client asked for, whatever http.StripPrefix has made of it; "" if Next
// would not accept it.
func requested(r *http.Request) string { return relative(r.RequestURI, r.URL.RequestURI()) }

// current returns the page that a request of htmx was made from.
func current(r *http.Request) string { return relative(r.Header.Get("HX-Current-URL"), "") }

// relative returns the path and query of a URL; otherwise if there is none.
func relative(text, otherwise string) string {
	if !strings.HasPrefix(text, "/") {
		u, err := url.Parse(text)
		if text = otherwise; err == nil && u.Host != "" {
			text = u.RequestURI()
		}
	}
	if !local(text) {
		return ""
	}
	return text
}

var reload = template.Must(template.New("reload").Parse(`<!doctype html>
<html lang="en"><meta charset="utf-8"><meta http-equiv="refresh" content="0;url={{.}}"><title>…</title>
<p><a href="{{.}}">Continue</a></p></html>
`))

// SameSite is for sessions whose cookie is SameSite=Strict: browsers withhold it when a link on another site leads
// here, and the user seems to be logged out. If such a request has no live session, SameSite responds with a page that
// loads itself again, now from this site and with the cookie. A fragment of the link is lost. It costs a visitor
// without a session one more request, so leave it out with SameSite=Lax, where links carry the cookie. Clients that
// send no Fetch Metadata are let through.
func SameSite(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Add("Vary", "Sec-Fetch-Site, Sec-Fetch-Mode, Sec-Fetch-Dest")
		h := r.Header
		if r.Method != http.MethodGet || h.Get("Sec-Fetch-Site") != "cross-site" ||
			h.Get("Sec-Fetch-Mode") != "navigate" ||
			h.Get("Sec-Fetch-Dest") != "document" {
			next.ServeHTTP(w, r)
			return
		}
		s, err := session.Open(r)
		again := requested(r)
		switch {
		case err != nil:
			session.Error(w, r, err)
		case !s.IsNew() || again == "":
			next.ServeHTTP(w, r)
		default:
			w.Header().Set("Cache-Control", "no-store")
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			reload.Execute(w, again)
		}
	})
}
