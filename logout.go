package session

import (
	"net/http"
	"strings"
)

// LogoutHandler returns a handler that ends the request's session, as [Session.Logout] does, and then redirects to a
// page (303). It accepts only POST requests from this site, so a link or an image on another site can't log users out.
// It goes inside a [Manager.Handler].
//
//	mux.Handle("/logout", session.LogoutHandler("/"))
//
// clear are directives of the header Clear-Site-Data, such as "cache" and "storage", for applications whose pages must
// not stay in the browser (ASVS 5.0, 14.3.1). "cookies" would delete those of other applications on this host too.
//
// If the session can't be ended, the response is that of [Config.ErrorHandler], and the user is still logged in.
func LogoutHandler(redirect string, clear ...string) http.Handler {
	quoted := make([]string, len(clear))
	for i, directive := range clear {
		quoted[i] = `"` + directive + `"`
	}
	var crossOrigin http.CrossOriginProtection
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method != http.MethodPost:
			w.Header().Set("Allow", http.MethodPost)
			http.Error(w, "Logging out takes a POST.", http.StatusMethodNotAllowed)
			return
		case r.Header.Get("Sec-Fetch-Site") != "same-site" && crossOrigin.Check(r) != nil:
			http.Error(w, "Another site has asked to log you out.", http.StatusForbidden)
			return
		}
		From(r).Logout()
		if len(quoted) > 0 {
			w.Header().Set("Clear-Site-Data", strings.Join(quoted, ", "))
		}
		http.Redirect(w, r, redirect, http.StatusSeeOther)
	})
}
