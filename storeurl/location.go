package storeurl

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// location is a URL in parts. Package net/url would be no help: it knows neither lists of hosts nor plain paths.
type location struct {
	scheme string
	rest   string            // what stands between the scheme's colon and the parameters
	more   string            // the parameters that are not ours, as they are
	params map[string]string // ours
	err    error             // the first thing that is wrong
}

// fail notes what is wrong. The texts contain nothing of the URL: a password with a question mark in it makes
// parameters.
func (l *location) fail(err error) {
	if l.err == nil {
		l.err = err
	}
}

// read takes a URL apart, whose scheme has been cut off.
func read(name, text string, s scheme) *location {
	l := &location{scheme: name, params: map[string]string{}}
	var query string
	l.rest, query, _ = strings.Cut(text, "?")
	var more []string
	for pair := range strings.SplitSeq(query, "&") {
		name, value, _ := strings.Cut(pair, "=")
		switch {
		case slices.Contains(s.params, name):
			l.set(name, value)
		case pair == "":
		case !s.more:
			l.fail(fmt.Errorf("a parameter is unknown: there %s", known(s.params)))
		default:
			more = append(more, pair)
		}
	}
	l.more = strings.Join(more, "&")
	return l
}

func known(params []string) string {
	if len(params) == 1 {
		return "is " + params[0]
	}
	return "are " + strings.Join(params, " and ")
}

func (l *location) set(name, value string) {
	if _, twice := l.params[name]; twice {
		l.fail(fmt.Errorf("the parameter %s is there twice", name))
	}
	value, err := url.QueryUnescape(value)
	if err != nil || value == "" {
		l.fail(fmt.Errorf("the parameter %s is empty, or has a %% that no two hexadecimal digits follow", name))
	}
	l.params[name] = value
}

// url returns the URL without our parameters.
func (l *location) url(scheme string) string {
	if l.more == "" {
		return scheme + ":" + l.rest
	}
	return scheme + ":" + l.rest + "?" + l.more
}

// path returns the name of a file or folder; two slashes may stand before an absolute one.
func (l *location) path() string {
	path, authority := strings.CutPrefix(l.rest, "//")
	if authority && !strings.HasPrefix(path, "/") {
		l.fail(errors.New("a host may not be named: a relative path follows the colon, an absolute one " +
			"may follow two slashes"))
	}
	if path == "" {
		l.fail(errors.New("the path is missing"))
	}
	return path
}

// text, number and flag return a parameter, the zero value if it isn't there.
func (l *location) text(name string) string { return l.params[name] }

func (l *location) number(name string) int64 {
	text, ok := l.params[name]
	if !ok {
		return 0
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || int64(int(n)) != n {
		l.fail(fmt.Errorf("the parameter %s is no number, or too large a one", name))
	}
	return n
}

func (l *location) flag(name string) bool {
	text, ok := l.params[name]
	if !ok {
		return false
	}
	set, err := strconv.ParseBool(text)
	if err != nil {
		l.fail(fmt.Errorf("the parameter %s is neither true nor false", name))
	}
	return set
}
