package admin

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/hipflask/session"
)

// back is the address of the list that an action began on, as a form brought it, with what it needs and nothing else.
func back(form url.Values, ended int) string {
	values, err := url.ParseQuery(form.Get("back"))
	if err != nil {
		values = nil
	}
	v := queryOf(values).values()
	v.Set("ended", strconv.Itoa(ended))
	return "./?" + v.Encode()
}

// see answers with the way to another page. http.Redirect makes an address of the host, and would make the wrong one
// where a prefix was stripped.
func see(w http.ResponseWriter, address string) {
	w.Header().Set("Location", address)
	w.WriteHeader(http.StatusSeeOther)
}

// one finds a session by its user and handle.
func (p *page) one(r *http.Request, user, handle string) (i session.Info, ok bool, err error) {
	ctx, cancel := context.WithTimeout(r.Context(), 2*p.patience)
	defer cancel()
	list := p.sessions.Sessions(ctx, user)
	if user == "" {
		list = p.sessions.All(ctx)
	}
	for i, err := range list {
		if err != nil {
			return i, false, err
		}
		if i.Handle == handle && i.Principal == user {
			return i, true, nil
		}
	}
	return i, false, nil
}

func (p *page) askEnd(w http.ResponseWriter, r *http.Request) {
	form := r.URL.Query()
	i, ok, err := p.one(r, form.Get("user"), form.Get("handle"))
	switch {
	case err != nil:
		p.fail(w, r, err, 0)
	case !ok:
		see(w, back(form, 0))
	default:
		p.show(w, http.StatusOK, "end", view{Title: p.title, Heading: "End this session?", User: i.Principal,
			Rows: []session.Info{i},
			Back: form.Get("back"), now: time.Now()})
	}
}

func (p *page) end(w http.ResponseWriter, r *http.Request) {
	user, handle := r.PostFormValue("user"), r.PostFormValue("handle")
	n, err := 1, error(nil)
	if user != "" {
		if err = p.sessions.Revoke(p.acting(r), user, handle); errors.Is(err, session.ErrEnded) {
			n, err = 0, nil
		}
	} else {
		n, err = p.sessions.RevokeFunc(p.acting(r), func(i session.Info) bool {
			return i.Principal == "" && i.Handle == handle
		})
	}
	if err != nil {
		p.fail(w, r, err, 0)
		return
	}
	see(w, back(r.PostForm, n))
}

// maxCount bounds the counting of one user's sessions on the page that asks.
const maxCount = 10_000

func (p *page) askEndAll(w http.ResponseWriter, r *http.Request) {
	form := r.URL.Query()
	v := view{Title: p.title, User: form.Get("user"), Back: form.Get("back"), now: time.Now()}
	for _, err := range p.sessions.Sessions(r.Context(), v.User) {
		if err != nil {
			p.fail(w, r, err, 0)
			return
		}
		if v.Matching++; v.Matching == maxCount {
			v.Partial = true
			break
		}
	}
	if v.Matching == 0 {
		see(w, back(form, 0))
		return
	}
	v.Heading = "End all sessions of " + v.User + "?"
	p.show(w, http.StatusOK, "end-all", v)
}

func (p *page) endAll(w http.ResponseWriter, r *http.Request) {
	n, err := p.sessions.RevokeAll(p.acting(r), r.PostFormValue("user"))
	if err != nil {
		p.fail(w, r, err, n)
		return
	}
	see(w, back(r.PostForm, n))
}
