package sqlstore

import (
	"errors"
	"fmt"
	"strings"
)

// DefaultTable is the name of the table if Options.Table is empty.
const DefaultTable = "hipflask_sessions"

// maxName leaves room for the suffixes of names: PostgreSQL truncates names at 63 bytes.
const maxName = 50

// table is the name of a table. schema is "" if none is named; in MySQL it is a database.
type table struct{ schema, name string }

var errName = errors.New(
	`a name consists of letters, digits and "_" and does not begin with a digit; ` +
		`one of a schema may stand before it, with a dot`)

func parseTable(s string) (table, error) {
	if s == "" {
		s = DefaultTable
	}
	t := table{name: s}
	if schema, name, found := strings.Cut(s, "."); found {
		if !isName(schema) {
			return table{}, errName
		}
		t = table{schema, name}
	}
	if !isName(t.name) {
		return table{}, errName
	}
	if n := max(len(t.name), len(t.schema)); n > maxName {
		return table{}, fmt.Errorf("a name has %d bytes, at most %d are allowed", n, maxName)
	}
	return t, nil
}

func isName(s string) bool {
	for i, c := range []byte(s) {
		switch {
		case c == '_', 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', i > 0 && '0' <= c && c <= '9':
		default:
			return false
		}
	}
	return s != ""
}

// quoted returns the name with a suffix, as it stands in a statement.
func (t table) quoted(quote, suffix string) string {
	s := quote + t.name + suffix + quote
	if t.schema != "" {
		s = quote + t.schema + quote + "." + s
	}
	return s
}
