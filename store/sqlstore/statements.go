package sqlstore

import (
	"strconv"
	"strings"
)

// statements are the texts of all statements about one table. Those of batch are for 1, 2, 4 and so on rows.
type statements struct {
	load, create, replace, touch, version, delete, principal, all, sweep, schema string

	batch, versions [batchSizes]string
}

// batchSizes is how many sizes a batch may have. 128 rows are 1,792 arguments.
const batchSizes = 8

// live is the condition that a row has not expired.
const live = "deadline > {now}"

func (d Dialect) statements(t table) statements {
	list := strings.Join(columns, ", ")
	const match = " WHERE record_key = ? AND version = ? AND " + live
	const page = " AND record_key > ? AND " + live + " ORDER BY record_key LIMIT ?"
	text := statements{
		load: "SELECT record_key, " + list + ", data, " + live + " FROM {table} WHERE record_key = ?",
		create: strings.NewReplacer(
			"{columns}", "record_key, "+list+", data, deadline",
			"{values}", "?, "+strings.Repeat("?, ", len(columns))+"?, {now} + ?",
			"{assignments}", d.assignments()).Replace(d.Create),
		replace: "UPDATE {table} SET " + strings.Join(columns, " = ?, ") +
			" = ?, data = ?, deadline = {now} + ?" + match,
		touch:   "UPDATE {table} SET last_seen_at = ?, expires_at = ?, deadline = {now} + ?" + match,
		version: "SELECT version FROM {table} WHERE record_key = ? AND " + live,
		delete:  "DELETE FROM {table} WHERE record_key = ?",
		// A database uses the partial index of principals only if the query repeats its condition, principal <> ''.
		principal: "SELECT record_key, " + list + " FROM {table} WHERE principal = ? AND principal <> ''" + page,
		all:       "SELECT record_key, " + list + " FROM {table} WHERE 1 = 1" + page,
		sweep:     d.Sweep,
		schema:    "SELECT COALESCE(MAX(version), 0) FROM {schema}",
	}
	for _, s := range []*string{
		&text.load, &text.create, &text.replace, &text.touch, &text.version, &text.delete, &text.principal,
		&text.all, &text.sweep, &text.schema,
	} {
		*s = d.text(*s, t)
	}
	for i := range text.batch {
		text.batch[i] = d.text(d.batch(1<<i), t)
		text.versions[i] = d.text("SELECT record_key, version FROM {table} WHERE "+live+" AND record_key IN (?"+
			strings.Repeat(", ?", 1<<i-1)+")", t)
	}
	return text
}

// batch is the statement that replaces so many rows.
func (d Dialect) batch(rows int) string {
	text, number := "?"+d.Text, "?"+d.Number
	first := []string{text, number}
	var set []string
	for _, column := range columns {
		switch column {
		case "version", "created_at", "last_seen_at", "expires_at", "kind":
			first = append(first, number)
		default:
			first = append(first, text)
		}
		set = append(set, column+" = new."+column)
	}
	first = append(first, text, number) // data and deadline
	set = append(set, "data = new.data", "deadline = {now} + new.deadline")
	next := ", (?" + strings.Repeat(", ?", len(first)-1) + ")"
	return strings.NewReplacer(
		"{columns}", strings.Join(columns, ", ")+", data, deadline",
		"{rows}", "("+strings.Join(first, ", ")+")"+strings.Repeat(next, rows-1),
		"{assignments}", strings.Join(set, ", "),
	).Replace(d.Batch)
}

// assignments overwrite every column of a row but its key.
func (d Dialect) assignments() string {
	var set []string
	for _, column := range append(columns[:len(columns):len(columns)], "data", "deadline") {
		set = append(set, strings.ReplaceAll(d.Assign, "{column}", column))
	}
	return strings.Join(set, ", ")
}

// text fills in a table's names, the dialect's words and its placeholders.
func (d Dialect) text(s string, t table) string {
	return d.Rebind(strings.NewReplacer("{now}", d.Now, "{table}", t.quoted(d.Quote, ""), "{schema}",
		t.quoted(d.Quote, "_schema"),
		"{readable}", t.quoted(d.Quote, "_readable"), "{text}", t.quoted(d.Quote, "_text"),
		"{principal_index}", d.Quote+t.name+"_principal"+d.Quote, "{deadline_index}",
		d.Quote+t.name+"_deadline"+d.Quote).Replace(s))
}

// Rebind returns a statement whose placeholders are ? with those of the dialect.
func (d Dialect) Rebind(statement string) string {
	if !d.Numbered {
		return statement
	}
	var b strings.Builder
	for i, part := range strings.Split(statement, "?") {
		if i > 0 {
			b.WriteString("$" + strconv.Itoa(i))
		}
		b.WriteString(part)
	}
	return b.String()
}

// TableName returns a table's name as it stands in a statement, in quotes. It fails unless name consists of letters,
// digits and "_", does not begin with a digit, and has at most 50 bytes; the name of a schema, of the same form, may
// stand before it, with a dot.
func (d Dialect) TableName(name string) (string, error) {
	t, err := parseTable(name)
	if err != nil {
		return "", err
	}
	return t.quoted(d.Quote, ""), nil
}
