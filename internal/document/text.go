package document

import (
	"bytes"
	"encoding/json"
	"reflect"
	"unicode/utf8"
)

// encoding/json silently writes U+FFFD where a text is not UTF-8. This file finds such texts, so that they are refused
// and never altered.

// checkTexts returns [ErrUTF8] if v has a text that is not UTF-8. data is the output of encoding/json for v. v is
// walked only if data has a U+FFFD, or is not UTF-8 itself.
func checkTexts(v any, data []byte) error {
	if utf8.Valid(data) && !bytes.Contains(data, []byte(`\ufffd`)) {
		return nil
	}
	w := texts{}
	if !w.valid(reflect.ValueOf(v), 0) {
		return ErrUTF8
	}
	return nil
}

// texts walks the values that encoding/json encodes. It doesn't walk a value twice: a type with its own MarshalJSON may
// lead to itself.
type texts map[visit]bool

type visit struct {
	pointer uintptr
	length  int // of a slice
	t       reflect.Type
}

func (w texts) valid(v reflect.Value, depth int) bool {
	switch {
	case !v.IsValid() || depth > maxNesting:
		return true
	case v.Kind() == reflect.String && !implementsMarshaler(v.Type()):
		return utf8.ValidString(v.String())
	case w.again(v):
		return true
	}
	if text, ok, final := encodedText(v); ok && (final || !utf8.Valid(text)) {
		return utf8.Valid(text)
	}
	// The MarshalJSON of a type often calls json.Marshal for the same fields.
	return w.validWithin(v, depth+1)
}

func (w texts) validWithin(v reflect.Value, depth int) bool {
	t := v.Type()
	switch t.Kind() {
	case reflect.String:
		return utf8.ValidString(v.String())
	case reflect.Interface, reflect.Pointer:
		return w.valid(v.Elem(), depth)
	case reflect.Slice, reflect.Array:
		if t.Elem().Kind() == reflect.Uint8 && !implementsMarshaler(t.Elem()) {
			return true // base64
		}
		for i := range v.Len() {
			if !w.valid(v.Index(i), depth) {
				return false
			}
		}
	case reflect.Map:
		for i := v.MapRange(); i.Next(); {
			if !w.valid(i.Key(), depth) || !w.valid(i.Value(), depth) {
				return false
			}
		}
	case reflect.Struct:
		for i := range t.NumField() {
			if isEncoded(t.Field(i)) && !w.valid(v.Field(i), depth) {
				return false
			}
		}
	}
	return true
}

// again reports whether v is a reference that has been walked already.
func (w texts) again(v reflect.Value) bool {
	at := visit{t: v.Type()}
	switch v.Kind() {
	case reflect.Slice:
		at.length = v.Len()
	case reflect.Pointer, reflect.Map:
	default:
		return false
	}
	at.pointer = v.Pointer()
	if w[at] {
		return true
	}
	w[at] = true
	return false
}

// encodedText returns the output of v's own encoding method. final means that the output is a text, so that the fields
// of v don't matter.
func encodedText(v reflect.Value) (text []byte, ok, final bool) {
	if v.Kind() == reflect.Pointer && v.IsNil() || !v.CanInterface() {
		return nil, false, false
	}
	m := v.Interface()
	if v.Kind() != reflect.Pointer && v.CanAddr() && v.Addr().CanInterface() {
		m = v.Addr().Interface()
	}
	var err error
	switch m := m.(type) {
	case json.Marshaler:
		text, err = m.MarshalJSON()
	case interface{ MarshalText() ([]byte, error) }:
		text, err = m.MarshalText()
		final = true
	default:
		return nil, false, false
	}
	return text, err == nil, final
}
