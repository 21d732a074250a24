package guard_test

import (
	"net/http"
	"time"

	"github.com/hipflask/session"
	"github.com/hipflask/session/guard"
)

// An account behind a login, a change of password behind a fresh one. The page for logins serves both: when Why says
// why the user was sent there, it asks again who is logged in.
func Example() {
	mux := http.NewServeMux()
	mux.Handle("GET /account", guard.Login("/login")(http.HandlerFunc(account)))
	mux.Handle("POST /password", guard.Fresh(10*time.Minute, "/login")(http.HandlerFunc(account)))
	mux.HandleFunc("/login", func(w http.ResponseWriter, r *http.Request) {
		s := session.From(r)
		if r.Method != http.MethodPost {
			if s.Principal() != "" && guard.Why(r) == "" {
				http.Redirect(w, r, guard.Next(r, "/account"), http.StatusSeeOther)
				return
			}
			// show the form, which posts to this URL with its query
			return
		}
		user := r.PostFormValue("user") // and its password, checked
		if s.Principal() == user {
			s.Elevate(session.Auth{Methods: []string{"pwd"}, Until: time.Now().Add(time.Hour)})
		} else {
			s.LoginWith(user, session.Auth{Methods: []string{"pwd"}})
		}
		http.Redirect(w, r, guard.Next(r, "/account"), http.StatusSeeOther)
	})
}

func account(http.ResponseWriter, *http.Request) {}
