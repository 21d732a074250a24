package admin

import (
	"bytes"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/hipflask/session"
	"github.com/hipflask/session/admin/summary"
)

// view is what the templates show.
type view struct {
	Title, Heading string
	Notice         string // what was done
	Problem        string // what went wrong
	Ended          int    // how many sessions were ended before it did
	User           string // whose sessions
	Text           string // what was searched for
	Rows           []session.Info
	Matching       int
	Partial        bool
	Paged          bool // not the first page
	Next           string
	Exact          bool   // the first row is of the user who is named as the search says
	Back           string // the list's query
	Summary        *summary.Summary
	now            time.Time
}

// show renders first, so that a mistake in a template is no half page.
func (p *page) show(w http.ResponseWriter, status int, name string, v view) {
	var b bytes.Buffer
	if err := pages.ExecuteTemplate(&b, name, v); err != nil {
		http.Error(w, "the page can't be shown", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	w.Write(b.Bytes())
}

var functions = template.FuncMap{
	"number": number,
	"iso":    func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
	"exact":  func(t time.Time) string { return t.UTC().Format("2 Jan 2006, 15:04:05 UTC") },
}

// number is n with its thousands apart.
func number(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// bound is module dbsc's attribute. The core can't import that module.
const bound session.PublicAttribute[bool] = "github.com/hipflask/session/dbsc"

// Bound tells whether a session is bound to a device.
func (v view) Bound(i session.Info) bool {
	is, _ := bound.Of(i)
	return is
}

// Ago says how long ago t was.
func (v view) Ago(t time.Time) string {
	d := v.now.Sub(t)
	if d < time.Second {
		return "now"
	}
	return span(d) + " ago"
}

// In says how far ahead t is.
func (v view) In(t time.Time) string {
	d := t.Sub(v.now)
	switch {
	case d < time.Second:
		return "now"
	case d > time.Hour: // 24 h that have just begun are 24 h
		d += 30 * time.Minute
	}
	return "in " + span(d)
}

func span(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%d s", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%d min", d/time.Minute)
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", d/time.Hour)
	}
	return fmt.Sprintf("%d days", d/(24*time.Hour))
}

// UserLink is the address of a user's sessions.
func (v view) UserLink(user string) string { return "./?" + url.Values{"user": {user}}.Encode() }

// EndLink is the address of the page that asks before it ends a session.
func (v view) EndLink(i session.Info) string {
	return "end?" + url.Values{"user": {i.Principal}, "handle": {i.Handle}, "back": {v.Back}}.Encode()
}

// EndAllLink is the same for all sessions of a user.
func (v view) EndAllLink() string {
	return "end-all?" + url.Values{"user": {v.User}, "back": {v.Back}}.Encode()
}

// BackLink is the address of the list.
func (v view) BackLink() string {
	if v.Back == "" {
		return "./"
	}
	return "./?" + v.Back
}

// A bar of a histogram. Y and Width are in the units of the drawing.
type bar struct {
	Name            string
	Count, Y, Width int
}

// A chart is a histogram of ages, a bar under the other: names and numbers are readable on a telephone, too.
type chart struct {
	ID, Caption string
	Height      int
	Bars        []bar
}

// The measures of a chart, which is 400 wide. Names stand at the left, numbers at the right of the bars.
const (
	barRoom   = 200
	barHeight = 26
)

// Charts are the histograms: by the last request, and by creation.
func (v view) Charts() []chart {
	draw := func(id, caption string, count func(summary.Bucket) int) chart {
		c, most := chart{ID: id, Caption: caption}, 1
		for _, b := range v.Summary.Buckets {
			most = max(most, count(b))
		}
		for i, b := range v.Summary.Buckets {
			width := 0
			if n := count(b); n > 0 {
				width = max(2, n*barRoom/most)
			}
			c.Bars = append(c.Bars, bar{b.Name, count(b), i * barHeight, width})
		}
		c.Height = len(c.Bars) * barHeight
		return c
	}
	return []chart{
		draw("seen", "Time since the last request", func(b summary.Bucket) int { return b.Idle }),
		draw("began", "Time since the login, or the first request", func(b summary.Bucket) int { return b.Age }),
	}
}
