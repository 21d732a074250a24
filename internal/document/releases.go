package document

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"
)

// Go 1.27 gave encoding/json a new core. The new core accepts more than Go 1.26 does: maps whose keys are floats,
// pointers or any; the tag options embed and format. It escapes invalid text and U+2028 differently. And it doesn't
// notice a pointer that leads to itself through an interface: the stack overflows, and the process ends. The functions
// of this file remove these differences, so that servers built by different releases can share a store. verify/releases
// compares them with recorded results.

// maxNesting is how deep encoding/json reads. Go 1.26 writes deeper values.
const maxNesting = 10_000

var errNesting = fmt.Errorf("nested deeper than %d levels", maxNesting)

// normalize makes the output of encoding/json the same for all releases. It may change data in place, and returns the
// result.
func normalize(data []byte) ([]byte, error) {
	for _, c := range [...]struct{ text, escape string }{{"\ufffd", `\ufffd`}, {"\u2028", `\u2028`},
		{"\u2029", `\u2029`}} {
		if bytes.Contains(data, []byte(c.text)) {
			data = bytes.ReplaceAll(data, []byte(c.text), []byte(c.escape))
		}
	}
	if len(data) > 2*maxNesting && nesting(data) > maxNesting {
		return nil, errNesting
	}
	return data, nil
}

// nesting returns how deep the brackets of a valid JSON value are nested.
func nesting(data []byte) (deepest int) {
	s := scanner{data: data}
	for depth := 0; s.pos < len(data); {
		switch data[s.pos] {
		case '"':
			s.str()
			continue
		case '[', '{':
			depth++
			deepest = max(deepest, depth)
		case ']', '}':
			depth--
		}
		s.pos++
	}
	return deepest
}

var (
	errKeys = errors.New("a map's keys must be strings, integers, or encode themselves as text")
	errTags = errors.New("a struct's tag has an option that Go 1.26 doesn't know, or a name with quotes or backslashes")
)

// checkEncodable returns an error if the releases of Go disagree on how to encode v.
func checkEncodable(v any) error {
	if value := reflect.ValueOf(v); value.IsValid() && !planOf(value.Type()).even {
		return check(value, encoding, 0)
	}
	return nil
}

// checkDecoded returns an error if encoding/json has decoded a value that Go 1.26 refuses.
func checkDecoded(pointer any) error {
	if value := reflect.ValueOf(pointer); value.IsValid() && !planOf(value.Type()).even {
		return check(value, decoding, 0)
	}
	return nil
}

type direction int

const (
	encoding direction = iota
	decoding           // interfaces hold what encoding/json made, and maps that are nil were not decoded
)

// check walks a value as encoding/json does.
func check(v reflect.Value, d direction, depth int) error {
	if !v.IsValid() {
		return nil
	}
	t := v.Type()
	p := planOf(t)
	if p.even || implementsMarshaler(t) || v.CanAddr() && implementsMarshaler(reflect.PointerTo(t)) {
		return nil
	}
	if depth > maxNesting {
		return errNesting
	}
	switch t.Kind() {
	case reflect.Interface:
		if d == encoding {
			return check(v.Elem(), d, depth+1)
		}
	case reflect.Pointer:
		return check(v.Elem(), d, depth+1)
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			if err := check(v.Index(i), d, depth+1); err != nil {
				return err
			}
		}
	case reflect.Map:
		if !p.isKey[d] && (d == encoding || !v.IsNil()) {
			return errKeys
		}
		if planOf(t.Elem()).even {
			return nil
		}
		for i := v.MapRange(); i.Next(); {
			if err := check(i.Value(), d, depth+1); err != nil {
				return err
			}
		}
	case reflect.Struct:
		if p.oddTags {
			return errTags
		}
		for _, f := range p.fields {
			field := v.Field(f.index)
			if f.omitEmpty && field.Kind() == reflect.Map && field.Len() == 0 || f.omitZero && field.IsZero() {
				continue
			}
			if err := check(field, d, depth+1); err != nil {
				return err
			}
		}
	}
	return nil
}

// plan is what is known of a type without looking at its values.
type plan struct {
	even    bool           // nothing to check: all values are encoded alike, and none can lead to itself unnoticed
	isKey   [2]bool        // of a map: whether Go 1.26 takes the keys, by direction
	oddTags bool           // of a struct
	fields  []plannedField // those to be checked
}

type plannedField struct {
	index               int
	omitEmpty, omitZero bool
}

var (
	plans           sync.Map // *plan by reflect.Type
	evenPlan        = &plan{even: true}
	textUnmarshaler = reflect.TypeFor[interface{ UnmarshalText([]byte) error }]()
)

func planOf(t reflect.Type) *plan {
	if k := t.Kind(); k < reflect.Array || k == reflect.String {
		return evenPlan
	}
	if p, ok := plans.Load(t); ok {
		return p.(*plan)
	}
	p := &plan{even: isEven(t, map[reflect.Type]bool{})}
	switch t.Kind() {
	case reflect.Map:
		p.isKey = [2]bool{isPlainKey(t.Key()) || t.Key().Implements(textMarshaler), isPlainKey(t.Key()) ||
			reflect.PointerTo(t.Key()).Implements(textUnmarshaler)}
	case reflect.Struct:
		for i := range t.NumField() {
			f := t.Field(i)
			if !isEncoded(f) {
				continue
			}
			p.oddTags = p.oddTags || isOdd(f.Tag)
			if !isEven(f.Type, map[reflect.Type]bool{}) {
				_, options, _ := strings.Cut(f.Tag.Get("json"), ",")
				names := strings.Split(options, ",")
				p.fields = append(p.fields,
					plannedField{i, slices.Contains(names, "omitempty"), slices.Contains(names, "omitzero")})
			}
		}
	}
	plans.Store(t, p)
	return p
}

func isEven(t reflect.Type, seen map[reflect.Type]bool) bool {
	if seen[t] {
		return true // so far
	}
	seen[t] = true
	switch t.Kind() {
	case reflect.Interface:
		return false
	case reflect.Pointer:
		if t.Elem() == t { // type P *P
			return false
		}
		return isEven(t.Elem(), seen)
	case reflect.Slice, reflect.Array:
		return isEven(t.Elem(), seen)
	case reflect.Map:
		return isPlainKey(t.Key()) && isEven(t.Elem(), seen)
	case reflect.Struct:
		for i := range t.NumField() {
			if f := t.Field(i); isEncoded(f) && (isOdd(f.Tag) || !isEven(f.Type, seen)) {
				return false
			}
		}
	}
	return true
}

// isPlainKey reports whether all releases encode maps with such keys, whatever the methods of the key.
func isPlainKey(t reflect.Type) bool {
	k := t.Kind()
	return k == reflect.String || k >= reflect.Int && k <= reflect.Uintptr
}

// isEncoded reports whether encoding/json looks at a field.
func isEncoded(f reflect.StructField) bool {
	if f.Tag.Get("json") == "-" {
		return false
	}
	t := f.Type
	if f.Anonymous && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return f.IsExported() || f.Anonymous && t.Kind() == reflect.Struct
}

// isOdd reports whether a tag means something to Go 1.27 that it doesn't mean to Go 1.26. The option case makes a
// difference only for names that Marshal doesn't write.
func isOdd(tag reflect.StructTag) bool {
	name, options, _ := strings.Cut(tag.Get("json"), ",")
	for option := range strings.SplitSeq(options, ",") {
		if option == "embed" || strings.HasPrefix(option, "format:") {
			return true
		}
	}
	return strings.ContainsAny(name, `"\`) || !utf8.ValidString(string(tag))
}
