package admin

import (
	"cmp"
	"context"
	"iter"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hipflask/session"
	"github.com/hipflask/session/admin/summary"
)

// position is a place in the order of the list: first those of the user who is named as the search says, and then those
// seen last.
type position struct {
	exact  bool
	seen   int64 // in milliseconds
	handle string
}

func (q *query) positionOf(i session.Info) position {
	return position{q.text != "" && i.Principal == q.text, i.LastSeenAt.UnixMilli(), i.Handle}
}

func (p position) compare(q position) int {
	if p.exact != q.exact {
		if p.exact {
			return -1
		}
		return 1
	}
	return cmp.Or(cmp.Compare(q.seen, p.seen), cmp.Compare(p.handle, q.handle))
}

// found is what one reading of a list gave.
type found struct {
	summary  *summary.Summary
	rows     []session.Info // the first of those asked for
	matching int            // how many fit the search, on all pages
	more     bool           // rows come after these
	partial  bool           // the list was not read to its end
}

// query is what a page of the list shows.
type query struct {
	user  string    // only this user's sessions; "" everybody's
	text  string    // only those with this in user, label or handle
	after *position // where the page before ended
}

// maxText bounds what is searched for: no name is longer.
const maxText = 256

func queryOf(form url.Values) query {
	q := query{user: form.Get("user"), text: strings.TrimSpace(form.Get("q"))}
	q.text = q.text[:min(len(q.text), maxText)]
	if seen, err := strconv.ParseInt(form.Get("seen"), 10, 64); err == nil {
		q.after = &position{form.Get("exact") != "", seen, form.Get("after")}
	}
	return q
}

// values is the query in an address.
func (q query) values() url.Values {
	v := url.Values{}
	if q.user != "" {
		v.Set("user", q.user)
	}
	if q.text != "" {
		v.Set("q", q.text)
	}
	if q.after != nil {
		v.Set("seen", strconv.FormatInt(q.after.seen, 10))
		v.Set("after", q.after.handle)
		if q.after.exact {
			v.Set("exact", "1")
		}
	}
	return v
}

func (q query) next(last session.Info) string {
	after := q.positionOf(last)
	q.after = &after
	return "./?" + q.values().Encode()
}

// find reads a list to its end, or for as long as patience lasts, and keeps no more of it than two pages.
func (p *page) find(ctx context.Context, q query) (f found, err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*p.patience) // for a store that hangs
	defer cancel()
	list := p.sessions.Sessions(ctx, q.user)
	if q.user == "" {
		select {
		case <-p.turn:
			defer func() { p.turn <- struct{}{} }()
		case <-ctx.Done():
			return f, ctx.Err()
		}
		list = p.sessions.All(ctx)
		if q.text != "" {
			list = p.exactFirst(ctx, q.text, list)
		}
	}
	return collect(list, q, p.size, time.Now().Add(p.patience))
}

// exactFirst reads the sessions of the user with that name from the index, and then the others: so that they are found
// among any number, however long the whole list is.
func (p *page) exactFirst(ctx context.Context, user string,
	all iter.Seq2[session.Info, error]) iter.Seq2[session.Info, error] {
	return func(yield func(session.Info, error) bool) {
		for i, err := range p.sessions.Sessions(ctx, user) {
			if !yield(i, err) {
				return
			}
		}
		for i, err := range all {
			if err == nil && i.Principal == user {
				continue
			}
			if !yield(i, err) {
				return
			}
		}
	}
}

func collect(list iter.Seq2[session.Info, error], q query, size int, deadline time.Time) (f found, err error) {
	now := time.Now()
	f.summary = summary.New(now)
	text := strings.ToLower(q.text)
	byPosition := func(a, b session.Info) int { return q.positionOf(a).compare(q.positionOf(b)) }
	cut := func(to int) {
		slices.SortFunc(f.rows, byPosition)
		if f.more = f.more || len(f.rows) > to; f.more {
			f.rows = f.rows[:min(len(f.rows), to)]
		}
	}
	for i, err := range list {
		if err != nil {
			return f, err
		}
		f.summary.Add(i)
		if f.summary.Total%64 == 0 && time.Now().After(deadline) {
			f.partial = true
			break
		}
		if !matches(i, text) {
			continue
		}
		f.matching++
		if q.after != nil && q.positionOf(i).compare(*q.after) <= 0 {
			continue
		}
		if f.rows = append(f.rows, i); len(f.rows) == 2*size {
			cut(size)
		}
	}
	cut(size)
	return f, nil
}

// matches tells whether a session has the text, which is in lower case, in its user, label or handle.
func matches(i session.Info, text string) bool {
	return text == "" || contains(i.Principal, text) || contains(i.Label, text) || contains(i.Handle, text)
}

func contains(s, text string) bool { return s != "" && strings.Contains(strings.ToLower(s), text) }

func (p *page) list(w http.ResponseWriter, r *http.Request) {
	form := r.URL.Query()
	q := queryOf(form)
	f, err := p.find(r.Context(), q)
	if err != nil {
		p.fail(w, r, err, 0)
		return
	}
	v := view{Title: p.title, Heading: p.title, User: q.user, Text: q.text, Rows: f.rows, Matching: f.matching,
		Partial: f.partial,
		Summary: f.summary, Back: q.values().Encode(), Paged: q.after != nil, now: time.Now()}
	if q.user != "" {
		v.Heading = "Sessions of " + q.user
	}
	v.Exact = len(f.rows) > 0 && q.positionOf(f.rows[0]).exact
	if f.more && len(f.rows) > 0 {
		v.Next = q.next(f.rows[len(f.rows)-1])
	}
	if n, err := strconv.Atoi(form.Get("ended")); err == nil && n >= 0 {
		v.Notice = notice(n)
	}
	p.show(w, http.StatusOK, "list", v)
}

func notice(n int) string {
	switch n {
	case 0:
		return "Nothing was left to end: it had ended already."
	case 1:
		return "1 session ended."
	}
	return number(n) + " sessions ended."
}
