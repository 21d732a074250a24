package main

import (
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/mattn/go-runewidth"
)

// sample is how many rows decide about the widths of a table's columns. Those after them are written as they come.
const sample = 200

// table writes rows under each other. The last column may have any length.
type table struct {
	out    io.Writer
	bold   func(string) string
	rows   [][]string
	widths []int
	err    error
}

func (a *app) table(heads ...string) *table {
	return &table{out: a.out, bold: a.bold, rows: [][]string{heads}}
}

func (t *table) row(cells ...string) error {
	if t.widths != nil {
		t.print(cells, nil)
	} else if t.rows = append(t.rows, cells); len(t.rows) > sample {
		t.flush()
	}
	return t.err
}

// flush writes the rows that were kept back. A table that never had a row writes nothing.
func (t *table) flush() error {
	if t.widths != nil || len(t.rows) == 1 {
		return t.err
	}
	t.widths = make([]int, len(t.rows[0]))
	for _, cells := range t.rows {
		for i, c := range cells {
			t.widths[i] = max(t.widths[i], runewidth.StringWidth(c))
		}
	}
	t.print(t.rows[0], t.bold)
	for _, cells := range t.rows[1:] {
		t.print(cells, nil)
	}
	t.rows = nil
	return t.err
}

func (t *table) print(cells []string, style func(string) string) {
	var b strings.Builder
	for i, c := range cells {
		if i > 0 {
			b.WriteString("  ")
		}
		if i < len(cells)-1 {
			c += strings.Repeat(" ", max(0, t.widths[i]-runewidth.StringWidth(c)))
		}
		b.WriteString(c)
	}
	line := b.String()
	if style != nil {
		line = style(line)
	}
	if _, err := fmt.Fprintln(t.out, line); err != nil && t.err == nil {
		t.err = err
	}
}

func (a *app) bold(s string) string   { return a.paint("1", s) }
func (a *app) red(s string) string    { return a.paint("31", s) }
func (a *app) green(s string) string  { return a.paint("32", s) }
func (a *app) yellow(s string) string { return a.paint("33", s) }
func (a *app) cyan(s string) string   { return a.paint("36", s) }

func (a *app) paint(code, s string) string {
	if !a.color {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

// plain is a text of somebody else's as it can be shown on a terminal: a label comes from a User-Agent header and could
// hold escape sequences.
func plain(s string) string {
	if s == "" {
		return "-"
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, s)
}

// printableJSON escapes what in a JSON text could control a terminal or the order of the text: C0 and C1 controls, DEL,
// format characters such as bidirectional overrides, and line separators. A byte that is not UTF-8 becomes a
// replacement character.
func printableJSON(text []byte) []byte {
	var b []byte
	for len(text) > 0 {
		r, size := utf8.DecodeRune(text)
		switch {
		case r == '\n' || size > 1 && unicode.IsPrint(r) || size == 1 && r != utf8.RuneError && unicode.IsPrint(r):
			b = append(b, text[:size]...)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			b = fmt.Appendf(b, `\u%04x\u%04x`, high, low)
		default:
			b = fmt.Appendf(b, `\u%04x`, r)
		}
		text = text[size:]
	}
	return b
}

// span is a duration in one unit.
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

func ago(t, now time.Time) string {
	if d := now.Sub(t); d >= time.Second {
		return span(d) + " ago"
	}
	return "now"
}

func in(t, now time.Time) string {
	d := t.Sub(now)
	switch {
	case d < time.Second:
		return "now"
	case d > time.Hour: // 24 h that have just begun are 24 h
		d += 30 * time.Minute
	}
	return "in " + span(d)
}
