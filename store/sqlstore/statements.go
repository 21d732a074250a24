package sqlstore

import (
	"fmt"
	"strconv"
	"strings"
)

// statements are the texts of all statements about one table.
type statements struct{ load, create, replace, touch, version, delete, principal, all, sweep, schema string }

// live is the condition that a row has not expired.
const live = "deadline > {now}"

func (d Dialect) statements(t table) statements {
	list := strings.Join(columns, ", ")
	const match = " WHERE record_key = ? AND version = ? AND " + live
	const page = " AND record_key > ? AND " + live + " ORDER BY record_key LIMIT ?"
	text := statements{
		load: "SELECT record_key, " + list + ", data, " + live + " FROM {table} WHERE record_key = ?",
		create: "INSERT INTO {table}{alias} (record_key, " + list + ", data, deadline) VALUES (?, " +
			strings.Repeat("?, ", len(columns)) + "?, {now} + ?) " + d.overwrite(),
		replace: "UPDATE {table} SET " + strings.Join(columns, " = ?, ") + " = ?, data = ?, deadline = {now} + ?" + match,
		touch:   "UPDATE {table} SET last_seen_at = ?, expires_at = ?, deadline = {now} + ?" + match,
		version: "SELECT version FROM {table} WHERE record_key = ? AND " + live,
		delete:  "DELETE FROM {table} WHERE record_key = ?",
		// principal <> '' is what the index of principals says, and has to be said again for it to be used.
		principal: "SELECT record_key, " + list + " FROM {table} WHERE principal = ? AND principal <> ''" + page,
		all:       "SELECT record_key, " + list + " FROM {table} WHERE 1 = 1" + page,
		sweep:     d.sweep,
		schema:    "SELECT COALESCE(MAX(version), 0) FROM {schema}",
	}
	for _, s := range []*string{
		&text.load, &text.create, &text.replace, &text.touch, &text.version, &text.delete, &text.principal, &text.all, &text.sweep, &text.schema,
	} {
		*s = d.text(*s, t)
	}
	return text
}

// overwrite is the end of an INSERT that takes the place of an expired row and leaves any other as it is.
func (d Dialect) overwrite() string {
	var set []string
	for _, column := range append(columns[:len(columns):len(columns)], "data", "deadline") {
		set = append(set, fmt.Sprintf(d.assign, column))
	}
	return fmt.Sprintf(d.conflict, strings.Join(set, ", "))
}

// text fills in a table's names, the dialect's words and its placeholders.
func (d Dialect) text(s string, t table) string {
	s = strings.NewReplacer("{now}", d.now, "{unlogged}", d.unlogged, "{alias}", d.alias, "{table}", t.quoted(d.quote, ""), "{schema}", t.quoted(d.quote, "_schema"),
		"{readable}", t.quoted(d.quote, "_readable"), "{text}", t.quoted(d.quote, "_text"),
		"{principal_index}", d.quote+t.name+"_principal"+d.quote, "{deadline_index}", d.quote+t.name+"_deadline"+d.quote).Replace(s)
	if !d.numbered {
		return s
	}
	var b strings.Builder
	n := 0
	for i, part := range strings.Split(s, "?") {
		if i > 0 {
			n++
			b.WriteString("$" + strconv.Itoa(n))
		}
		b.WriteString(part)
	}
	return b.String()
}
