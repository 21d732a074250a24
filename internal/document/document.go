// Package document has the contents of a session (encoded values by name), the changes that a request makes to them,
// and how the two merge.
package document

import (
	"bytes"
	"slices"
	"strings"
)

// Member is one entry of a document: a name and its encoded value.
type Member struct {
	Name  string
	Value []byte
}

// Permanent names the value that says whether the session outlives the browser. The name is Flask's (flask/sessions.py,
// SessionMixin.permanent).
const Permanent = "_permanent"

// Attributes have names of their own, so that they merge as values do. Public ones are kept apart, in Record.Public.
const (
	reserved        = "_hipflask:"
	attributePrefix = reserved + "a:"
	publicPrefix    = reserved + "p:"
)

// Issued names the time at which a Renew made the session's ID, in seconds since 1970. Without that value the ID is as
// old as the session. The name has the prefix of attributes, since a Login drops them.
const Issued = reserved + "i:"

// Attribute returns the name under which a document has an attribute.
func Attribute(name string) string { return attributePrefix + name }

// PublicAttribute returns the name under which a document has a public attribute.
func PublicAttribute(name string) string { return publicPrefix + name }

// IsAttribute reports whether name is that of an attribute, public or not.
func IsAttribute(name string) bool { return strings.HasPrefix(name, reserved) }

// PlainName returns the name as the application knows it, without the prefix of attributes.
func PlainName(name string) string {
	if IsAttribute(name) {
		return name[len(attributePrefix):] // as long as publicPrefix
	}
	return name
}

// Reserved reports whether name doesn't belong to the application's values. Keys and Len leave such names out, and
// Clear keeps them.
func Reserved(name string) bool { return name == Permanent || IsAttribute(name) }

// Serializer is the part of session.Serializer that splits documents.
type Serializer interface {
	Split(document []byte) ([]Member, error)
	Join(members []Member) ([]byte, error)
}

// Document is a session's encoded values, sorted by name, each name once. It is never changed in place.
type Document []Member

// persistentMark is an entry of Public that no public attribute has.
var persistentMark = Member{Permanent, []byte("true")}

// IsPersistent reports whether [Join] has marked a record's Public as that of a persistent session.
func IsPersistent(public []byte) bool {
	if !bytes.Contains(public, []byte(Permanent)) {
		return false
	}
	members, err := JSON{}.Split(public)
	return err == nil && slices.ContainsFunc(members, func(m Member) bool { return m.Name == Permanent })
}

// Split returns the document of a record's Data and Public.
func Split(s Serializer, data, public []byte) (Document, error) {
	members, err := s.Split(data)
	if err != nil {
		return nil, err
	}
	return Of(members, public)
}

// Of is [Split] for Data that is split already.
func Of(members []Member, public []byte) (Document, error) {
	if len(public) > 0 {
		shown, err := JSON{}.Split(public)
		if err != nil {
			return nil, err
		}
		for _, m := range shown {
			if m.Name == Permanent {
				continue
			}
			members = append(members, Member{PublicAttribute(m.Name), m.Value})
		}
	}
	return sorted(members), nil
}

// rejoiner is implemented by a Serializer that reads documents in several formats. Rejoin makes a document of members
// in the format of the document before.
type rejoiner interface {
	Rejoin(members []Member, before []byte) ([]byte, error)
}

func join(s Serializer, members []Member, before []byte) ([]byte, error) {
	if r, ok := s.(rejoiner); ok && len(before) > 0 {
		return r.Rejoin(members, before)
	}
	return s.Join(members)
}

// Join is the reverse of [Split]. before is the document that d was made of, or nil. With mark, Public says that the
// session is persistent, for readers that have no Data.
func Join(s Serializer, d Document, before []byte, mark bool) (data, public []byte, err error) {
	first, _ := d.search(publicPrefix)
	last := first
	for last < len(d) && strings.HasPrefix(d[last].Name, publicPrefix) {
		last++
	}
	if first == last && !mark {
		data, err = join(s, d, before)
		return data, nil, err
	}
	shown := slices.Clone(d[first:last])
	for i := range shown {
		shown[i].Name = shown[i].Name[len(publicPrefix):]
	}
	if mark {
		shown = append(shown, persistentMark)
	}
	if public, err = (JSON{}).Join(shown); err != nil {
		return nil, nil, err
	}
	data, err = join(s, slices.Concat(d[:first], d[last:]), before)
	return data, public, err
}

// sorted sorts the members that a serializer returned. If a name occurs twice, the last one wins, as in Python.
func sorted(members []Member) Document {
	n := 1
	for n < len(members) && members[n-1].Name < members[n].Name {
		n++
	}
	if n >= len(members) {
		return members // as we write them
	}
	slices.SortStableFunc(members, func(a, b Member) int { return strings.Compare(a.Name, b.Name) })
	d := members[:0]
	for i, m := range members {
		if i+1 == len(members) || members[i+1].Name != m.Name {
			d = append(d, m)
		}
	}
	return d
}

// search is slices.BinarySearchFunc without a call for each step: every value that is read is searched for.
func (d Document) search(name string) (int, bool) {
	first, end := 0, len(d)
	for first < end {
		if middle := (first + end) / 2; d[middle].Name < name {
			first = middle + 1
		} else {
			end = middle
		}
	}
	return first, first < len(d) && d[first].Name == name
}

// Get returns the encoded value of name.
func (d Document) Get(name string) ([]byte, bool) {
	i, ok := d.search(name)
	if !ok {
		return nil, false
	}
	return d[i].Value, true
}

// own returns name in memory that nobody else writes to: frameworks use the memory of their texts again. The name of a
// value that is there already needs no copy.
func (d Document) own(name string) string {
	if i, found := d.search(name); found {
		return d[i].Name
	}
	return strings.Clone(name)
}

// With returns d with name set to value. d stays as it is.
func (d Document) With(name string, value []byte) Document {
	i, found := d.search(name)
	rest := d[i:]
	if found {
		rest = rest[1:]
	}
	return slices.Concat(d[:i], Document{{name, value}}, rest)
}

// Bare reports whether the document holds nothing that is worth a session: neither values nor attributes.
func (d Document) Bare() bool {
	return len(d) == 0 || len(d) == 1 && d[0].Name == Permanent
}
