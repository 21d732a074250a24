package flask

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/hipflask/session"
	"github.com/hipflask/session/internal/document"
)

// TaggedJSON is Flask's serializer of session cookies, also used by some applications in server-side stores. An untyped
// Get gives nil, bool, string, int64 (*big.Int where that is too small), float64 (NaN and infinities included, since
// Python has them), []any, map[string]any, Tuple, []byte, Markup, UUID and time.Time (UTC, whole seconds); Set writes
// each back as the same Python value. Other types are written by their kind or their JSON form.
//
// What Flask can't hold is an error when it is set: text that is not UTF-8, times outside the years 100 to 9999 (so the
// zero time.Time), functions, channels, complex numbers, maps with other keys than text, and more than 300 levels.
var TaggedJSON session.Serializer = NewTaggedJSON()

// NewTaggedJSON returns a serializer that knows more tags than Flask's own.
func NewTaggedJSON(tags ...Tag) session.Serializer { return &taggedJSON{tags} }

type taggedJSON struct{ tags []Tag }

func (s *taggedJSON) Marshal(value any) ([]byte, error) {
	e := encoder{tags: s.tags}
	return e.value(nil, value)
}

func (s *taggedJSON) Unmarshal(data []byte, pointer any) error {
	if p, is := pointer.(*string); is {
		if text, ok := plainText(data); ok {
			*p = text
			return nil
		}
	}
	if !utf8.Valid(data) {
		return errForm
	}
	p := parser{data: data, tags: s.tags}
	v, err := p.whole()
	if err != nil {
		return err
	}
	return assign(v, pointer)
}

// plainText reads what most values are, text without escapes. It spares the detour through an any.
func plainText(data []byte) (text string, ok bool) {
	n := len(data) - 1
	if n < 1 || data[0] != '"' || bytes.IndexByte(data[1:], '"') != n-1 || !utf8.Valid(data) {
		return "", false
	}
	for _, c := range data {
		if c < ' ' || c == '\\' {
			return "", false
		}
	}
	return string(data[1:n]), true
}

var errType = errors.New("flask: the value has another type")

// assign puts v where pointer points to, if it is of that type, or can be by its JSON form.
func assign(v, pointer any) error {
	ok := false
	if p, is := pointer.(*int); is { // encoding/json, below, takes many times as long
		if i, is := v.(int64); is && int64(int(i)) == i {
			*p = int(i)
			return nil
		}
	}
	switch p := pointer.(type) {
	case *any:
		*p, ok = v, true
	case *string:
		if m, is := v.(Markup); is {
			v = string(m)
		}
		*p, ok = v.(string)
	case *bool:
		*p, ok = v.(bool)
	case *float64:
		if *p, ok = v.(float64); !ok {
			i, is := v.(int64)
			*p, ok = float64(i), is
		}
	case *int64:
		*p, ok = v.(int64)
	case *[]byte:
		*p, ok = v.([]byte)
	case *time.Time:
		if n, is := v.(Naive); is {
			v = time.Time(n)
		}
		*p, ok = v.(time.Time)
	case *Naive:
		*p, ok = v.(Naive)
	case *Set:
		*p, ok = v.(Set)
	case *Decimal:
		*p, ok = v.(Decimal)
	case *Tuple:
		*p, ok = v.(Tuple)
	case *Markup:
		*p, ok = v.(Markup)
	case *UUID:
		*p, ok = v.(UUID)
	case *[]document.Flash:
		*p, ok = flashesOf(v)
	case **big.Int:
		if *p, ok = v.(*big.Int); !ok {
			i, is := v.(int64)
			*p, ok = big.NewInt(i), is
		}
	case *map[string]any:
		*p, ok = v.(map[string]any)
	case *[]any:
		*p, ok = v.([]any)
	default:
		form, err := json.Marshal(jsonForm(v))
		if err != nil {
			return errType
		}
		return session.JSON.Unmarshal(form, pointer)
	}
	if !ok {
		return errType
	}
	return nil
}

// flashed returns the value of a flash message (flask/helpers.py, flash).
func flashed(f document.Flash) any {
	if f.Kept != nil {
		return f.Kept
	}
	return Tuple{f.Category, f.Message}
}

// flashesOf returns the flash messages in the value of their key: pairs of category and message, of any types, which
// keep them when they are written back.
func flashesOf(v any) (messages []document.Flash, ok bool) {
	list, ok := items(v)
	for _, item := range list {
		f := document.Flash{Category: "message", Message: pythonText(item), Kept: item}
		if pair, _ := items(item); len(pair) == 2 {
			f.Category, f.Message = pythonText(pair[0]), pythonText(pair[1])
		}
		messages = append(messages, f)
	}
	return messages, ok
}

func items(v any) (list []any, ok bool) {
	switch v := v.(type) {
	case []any:
		return v, true
	case Tuple:
		return v, true
	}
	return nil, false
}

// published is public, but for flash messages, which are shown as text, of whatever type.
func published(v, pointer any) (any, error) {
	if _, ok := pointer.(*[]document.Flash); ok {
		return v, nil
	}
	return public(v)
}

// jsonForm takes the tags away.
func jsonForm(v any) any {
	switch v := v.(type) {
	case []any:
		list := make([]any, len(v))
		for i := range v {
			list[i] = jsonForm(v[i])
		}
		return list
	case Tuple:
		return jsonForm([]any(v))
	case Set:
		return jsonForm([]any(v))
	case map[any]any: // encoding/json has no form for it
		object := make(map[string]any, len(v))
		for k := range v {
			object[fmt.Sprint(k)] = jsonForm(v[k])
		}
		return object
	case map[string]any:
		object := make(map[string]any, len(v))
		for k := range v {
			object[k] = jsonForm(v[k])
		}
		return object
	case Markup:
		return string(v)
	case UUID:
		return v.String()
	case []byte:
		return base64.StdEncoding.EncodeToString(v)
	}
	return v
}

// Split checks that the document is JSON. What a tag holds is judged when its value is read: an odd value, such as a
// date of the year 50 or half a surrogate pair, costs its key alone, and its bytes are kept.
func (s *taggedJSON) Split(document []byte) ([]session.Member, error) {
	if len(document) == 0 {
		return nil, nil
	}
	members, err := splitJSON(document)
	if err != nil || len(members) == 0 || !isTag(s.tags, members[0].Name) {
		return members, err
	}
	last := members[len(members)-1]
	for _, m := range members {
		if m.Name != last.Name {
			return members, nil // an object with several keys is no tag
		}
	}
	if last.Name != tagDict {
		return nil, errForm // the whole is no dict
	}
	inner, err := splitJSON(last.Value)
	if err != nil || len(inner) != 1 {
		return nil, errForm
	}
	name, ok := strings.CutSuffix(inner[0].Name, "__")
	if !ok {
		return nil, errForm
	}
	inner[0].Name = name
	return inner, nil
}

func splitJSON(document []byte) ([]session.Member, error) {
	var room [16]member // on the stack, for a session of the usual size
	p := parser{data: document, plain: true, lone: true}
	found, err := p.split(room[:0])
	if err != nil {
		return nil, err
	}
	return membersOf(document, found), nil
}

// membersOf makes session members of what was found in a document.
func membersOf(document []byte, found []member) []session.Member {
	if len(found) == 0 {
		return nil
	}
	members := make([]session.Member, len(found))
	names, ends := make([]byte, 0, 128), make([]int, 0, 16)
	for _, m := range found {
		names = append(names, m.key(document)...)
		ends = append(ends, len(names))
	}
	text, start := string(names), 0 // one allocation for all names
	for i, m := range found {
		members[i] = session.Member{Name: text[start:ends[i]], Value: document[m.value:m.end:m.end]}
		start = ends[i]
	}
	return members
}

func (s *taggedJSON) Join(members []session.Member) ([]byte, error) {
	if len(members) == 1 && isTag(s.tags, members[0].Name) {
		inner, err := joinPlain([]session.Member{{Name: members[0].Name + "__", Value: members[0].Value}})
		if err != nil {
			return nil, err
		}
		return joinPlain([]session.Member{{Name: tagDict, Value: inner}})
	}
	return joinPlain(members)
}

func joinPlain(members []session.Member) ([]byte, error) {
	size := 2
	for _, m := range members {
		size += len(m.Name) + len(m.Value) + len(`"":,`)
	}
	b := append(make([]byte, 0, size), '{')
	for i, m := range members {
		if i > 0 {
			b = append(b, ',')
		}
		var err error
		if b, err = appendName(b, m.Name); err != nil {
			return nil, fmt.Errorf("flask: a session's key: %w", err)
		}
		b = append(b, ':')
		b = append(b, m.Value...)
	}
	return append(b, '}'), nil
}
