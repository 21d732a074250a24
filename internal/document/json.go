package document

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// JSON encodes values as JSON and documents as JSON objects: see session.JSON. The zero value is ready to use.
type JSON struct{}

var errJSON = errors.New("session: not a JSON object")

func (JSON) Marshal(v any) ([]byte, error) { return appendJSON(nil, v, 0) }

// maxDepth stops values that contain themselves.
const maxDepth = 1000

func appendJSON(b []byte, v any, depth int) ([]byte, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("session: a value is nested deeper than %d levels", maxDepth)
	}
	switch v := v.(type) {
	case nil:
		return append(b, "null"...), nil
	case bool:
		return strconv.AppendBool(b, v), nil
	case int:
		return strconv.AppendInt(b, int64(v), 10), nil
	case int64:
		return strconv.AppendInt(b, v, 10), nil
	case string:
		return appendString(b, v)
	case float64:
		return appendFloat(b, v, 64)
	case json.Marshaler, json.Number:
		return appendStandard(b, v)
	}
	return appendReflected(b, reflect.ValueOf(v), depth)
}

// appendReflected walks slices and maps itself, for the sake of floats, and leaves the rest to encoding/json.
func appendReflected(b []byte, v reflect.Value, depth int) ([]byte, error) {
	switch t := v.Type(); {
	case implementsMarshaler(t):
	case t.Kind() == reflect.Float32:
		return appendFloat(b, v.Float(), 32)
	case t.Kind() == reflect.Float64:
		return appendFloat(b, v.Float(), 64)
	case t.Kind() == reflect.String:
		return appendString(b, v.String())
	case t.Kind() == reflect.Slice && !v.IsNil() && t.Elem().Kind() != reflect.Uint8, t.Kind() == reflect.Array:
		var err error
		b = append(b, '[')
		for i := range v.Len() {
			if i > 0 {
				b = append(b, ',')
			}
			if b, err = appendJSON(b, v.Index(i).Interface(), depth+1); err != nil {
				return nil, err
			}
		}
		return append(b, ']'), nil
	case t.Kind() == reflect.Map && !v.IsNil() && t.Key().Kind() == reflect.String && !implementsMarshaler(t.Key()):
		keys := v.MapKeys()
		slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
		var err error
		b = append(b, '{')
		for i, k := range keys {
			if i > 0 {
				b = append(b, ',')
			}
			if b, err = appendString(b, k.String()); err != nil {
				return nil, err
			}
			b = append(b, ':')
			if b, err = appendJSON(b, v.MapIndex(k).Interface(), depth+1); err != nil {
				return nil, err
			}
		}
		return append(b, '}'), nil
	}
	return appendStandard(b, v.Interface())
}

var (
	jsonMarshaler = reflect.TypeFor[json.Marshaler]()
	textMarshaler = reflect.TypeFor[interface{ MarshalText() ([]byte, error) }]()
)

func implementsMarshaler(t reflect.Type) bool {
	return t.Implements(jsonMarshaler) || t.Implements(textMarshaler)
}

func appendStandard(b []byte, v any) ([]byte, error) {
	err := checkEncodable(v)
	if err == nil {
		var data []byte
		if data, err = standard(v); err != nil {
			return nil, err
		}
		if data, err = normalize(data); err == nil {
			err = checkTexts(v, data)
		}
		if err == nil {
			return append(b, data...), nil
		}
	}
	return nil, fmt.Errorf("session: a value of type %T can't be encoded as JSON: %w", v, err)
}

// standard returns encoding/json's form of v.
func standard(v any) ([]byte, error) {
	var buf bytes.Buffer
	e := json.NewEncoder(&buf)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		// encoding/json's texts can quote the value.
		return nil, fmt.Errorf("session: a value of type %T can't be encoded as JSON", v)
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n")), nil
}

// ErrUTF8 refuses a text that JSON could only store changed.
var ErrUTF8 = errors.New("session: text is not valid UTF-8")

func appendString(b []byte, s string) ([]byte, error) {
	n := len(b) + 1
	b = append(append(b, '"'), s...)
	if Plain(b[n:]) == len(s) {
		return append(b, '"'), nil
	}
	if !utf8.ValidString(s) {
		return nil, ErrUTF8
	}
	data, err := standard(s)
	return append(b[:n-1], data...), err
}

func appendFloat(b []byte, f float64, bits int) ([]byte, error) {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return nil, errors.New("session: JSON has no NaN and no infinity")
	}
	n := len(b)
	format := byte('f')
	if abs := math.Abs(f); abs != 0 && (abs < 1e-6 || abs >= 1e21) {
		format = 'e'
	}
	b = strconv.AppendFloat(b, f, format, -1, bits)
	if !bytes.ContainsAny(b[n:], ".e") {
		b = append(b, ".0"...)
	}
	return b, nil
}

func (JSON) Unmarshal(data []byte, pointer any) error {
	switch p := pointer.(type) {
	case *string:
		if n := len(data); n >= 2 && data[0] == '"' && data[n-1] == '"' && Plain(data[1:n-1]) == n-2 {
			*p = string(data[1 : n-1])
			return nil
		}
	case *int:
		if n, ok := smallInt(data); ok {
			*p = n
			return nil
		}
	case *any:
		v, err := decodeAny(data)
		if err == nil {
			*p = v
		}
		return err
	case *[]any:
		if v, err := decodeAny(data); err == nil {
			if list, ok := v.([]any); ok {
				*p = list
				return nil
			}
		}
	case *map[string]any:
		if v, err := decodeAny(data); err == nil {
			if object, ok := v.(map[string]any); ok {
				*p = object
				return nil
			}
		}
	}
	if err := json.Unmarshal(data, pointer); err != nil {
		return err
	}
	if err := checkDecoded(pointer); err != nil {
		return fmt.Errorf("session: JSON can't be decoded into a value of type %T: %w", pointer, err)
	}
	return nil
}

// decodeAny is encoding/json's way into an any, but integers stay integers.
func decodeAny(data []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	if d.InputOffset() != int64(len(data)) {
		return nil, errJSON
	}
	return numbers(v), nil
}

// smallInt reads what is plainly an integer of at most nine digits.
func smallInt(data []byte) (n int, ok bool) {
	if len(data) == 0 || len(data) > 9 || data[0] == '0' && len(data) > 1 {
		return 0, false
	}
	for _, c := range data {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	return n, true
}

// numbers gives the json.Numbers within v the types that they were set with.
func numbers(v any) any {
	switch v := v.(type) {
	case json.Number:
		text := v.String()
		if strings.ContainsAny(text, ".eE") {
			if f, err := v.Float64(); err == nil {
				return f
			}
			return v
		}
		if n, err := v.Int64(); err == nil {
			return n
		}
		if n, err := strconv.ParseUint(text, 10, 64); err == nil {
			return n
		}
	case []any:
		for i := range v {
			v[i] = numbers(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = numbers(v[k])
		}
	}
	return v
}

func (JSON) Join(members []Member) ([]byte, error) {
	size := 2
	for _, m := range members {
		size += len(m.Name) + len(m.Value) + 4
	}
	b := append(make([]byte, 0, size), '{')
	for i, m := range members {
		if i > 0 {
			b = append(b, ',')
		}
		var err error
		if b, err = appendString(b, m.Name); err != nil {
			return nil, err
		}
		b = append(b, ':')
		b = append(b, m.Value...)
	}
	return append(b, '}'), nil
}

// Split finds the top-level members of a JSON object without decoding their values. It checks the syntax of the object
// itself; the syntax of a value is checked when it is decoded. No bytes make an empty document.
func (JSON) Split(document []byte) ([]Member, error) {
	if len(document) == 0 {
		return nil, nil
	}
	s := scanner{data: document}
	s.space()
	if !s.take('{') {
		return nil, errJSON
	}
	s.space()
	if s.take('}') {
		return nil, s.end()
	}
	members := make([]Member, 0, 4)
	var names, ends = make([]byte, 0, 128), make([]int, 0, 16) // on the stack, for a session of the usual size
	for {
		name, value, ok := s.member()
		if !ok {
			return nil, errJSON
		}
		members = append(members, Member{Value: value})
		names = append(names, name...)
		ends = append(ends, len(names))
		if s.space(); s.take('}') {
			break
		}
		if !s.take(',') {
			return nil, errJSON
		}
		s.space()
	}
	text, start := string(names), 0 // one allocation for all names
	for i, end := range ends {
		members[i].Name = text[start:end]
		start = end
	}
	return members, s.end()
}
