package flask

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/big"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/hipflask/session"
	"github.com/hipflask/session/internal/document"
)

// Decimal is a Python decimal.Decimal, as text. Only Pickle keeps the type; the others write a str.
type Decimal string

// Set is a Python set. Only Pickle keeps the type; Msgpack and JSON write a list.
type Set []any

// Naive is a Python datetime without a time zone: the fields count, the Location does not. Only Pickle keeps the type;
// the others write a str, as Python does.
type Naive time.Time

// decimalText is what decimal.Decimal takes, without what it would clean up first. A Python that reads another one
// fails.
var (
	decimalText = regexp.MustCompile(`^[+-]?((\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,9})?|Infinity|s?NaN\d*)$`)
	errDecimal  = errors.New("flask: not the text of a decimal number")
)

// MarshalText gives the form of Python's isoformat.
func (n Naive) MarshalText() ([]byte, error) {
	t := time.Time(n)
	if y := t.Year(); y < 1 || y > 9999 {
		return nil, errPythonYear
	}
	layout := "2006-01-02T15:04:05"
	if t.Nanosecond()/1000 != 0 {
		layout += ".000000"
	}
	return t.AppendFormat(nil, layout), nil
}

var errPythonYear = errors.New("flask: Python keeps times of the years 1 to 9999 only")

// Python values that are kept when another value of the session changes, and that have no Go type of their own.
type (
	frozenset []any
	bytearray []byte
	date      [4]byte // as datetime.date pickles itself
	pairs     []pair  // a dict in which not every key is a str
	ext       struct {
		code int8
		data string
	}
)

type pair struct{ key, value any }

// canonical turns a Go value into one of the types that the formats know: nil, bool, int64 (*big.Int outside it),
// float64, string, []byte, []any, map[string]any, Tuple, Set, Markup, UUID, Decimal, Naive, time.Time, and the types
// above.
func canonical(v any, depth int) (any, error) {
	if depth > maxWriteDepth {
		return nil, errDepth
	}
	switch v := v.(type) {
	case nil, bool, int64, float64, []byte, UUID, date, timedelta, ext, bytearray, loneText, class, zone, *object:
		return v, nil
	case string:
		return v, checkText(v)
	case Markup:
		return v, checkText(string(v))
	case Decimal:
		if !decimalText.MatchString(string(v)) {
			return nil, errDecimal
		}
		return v, nil
	case int:
		return int64(v), nil
	case uint64:
		return natural(new(big.Int).SetUint64(v)), nil
	case *big.Int:
		if v == nil {
			return nil, nil
		}
		return natural(v), nil
	case json.Number:
		return numberOf(v)
	case time.Time:
		if y := v.UTC().Year(); y < 1 || y > 9999 || v.Year() < 1 || v.Year() > 9999 {
			return nil, errPythonYear
		}
		return v.Truncate(time.Microsecond), nil
	case Naive:
		_, err := v.MarshalText()
		return v, err
	case session.FlashMessage: // flask/helpers.py, flash
		return canonical(Tuple{v.Category, v.Message}, depth)
	case document.Flash:
		return canonical(flashed(v), depth)
	case []any:
		return canonicalList[[]any](v, depth)
	case Tuple:
		return canonicalList[Tuple](v, depth)
	case Set:
		return canonicalList[Set](v, depth)
	case frozenset:
		return canonicalList[frozenset](v, depth)
	case map[string]any:
		object := make(map[string]any, len(v))
		for k, item := range v {
			if err := checkText(k); err != nil {
				return nil, err
			}
			var err error
			if object[k], err = canonical(item, depth+1); err != nil {
				return nil, err
			}
		}
		return object, nil
	case pairs:
		list := make(pairs, len(v))
		for i, p := range v {
			var err1, err2 error
			list[i].key, err1 = canonical(p.key, depth+1)
			list[i].value, err2 = canonical(p.value, depth+1)
			if err := errors.Join(err1, err2); err != nil {
				return nil, err
			}
		}
		return list, nil
	}
	return canonicalReflected(reflect.ValueOf(v), depth)
}

func canonicalList[L ~[]any](list L, depth int) (any, error) {
	if list == nil {
		return nil, nil
	}
	result := make(L, len(list))
	for i, item := range list {
		var err error
		if result[i], err = canonical(item, depth+1); err != nil {
			return nil, err
		}
	}
	return result, nil
}

// canonicalReflected takes other types by their kind, or by their JSON form.
func canonicalReflected(v reflect.Value, depth int) (any, error) {
	t := v.Type()
	if !t.Implements(jsonMarshaler) && !t.Implements(textMarshaler) {
		switch v.Kind() {
		case reflect.Bool:
			return v.Bool(), nil
		case reflect.String:
			return v.String(), checkText(v.String())
		case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
			return v.Int(), nil
		case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
			return canonical(v.Uint(), depth)
		case reflect.Float32, reflect.Float64:
			return v.Float(), nil
		case reflect.Pointer:
			if v.IsNil() {
				return nil, nil
			}
			return canonical(v.Elem().Interface(), depth+1)
		case reflect.Slice:
			if v.IsNil() {
				return nil, nil
			}
			if t.Elem().Kind() == reflect.Uint8 {
				return v.Bytes(), nil
			}
			fallthrough
		case reflect.Array:
			list := make([]any, v.Len())
			for i := range list {
				list[i] = v.Index(i).Interface()
			}
			return canonical(list, depth)
		case reflect.Map:
			if !t.Key().Implements(textMarshaler) {
				return canonicalMap(v, depth)
			}
		}
	}
	form, err := session.JSON.Marshal(v.Interface()) // the same with every release of Go
	if err != nil {
		return nil, unfit(t)
	}
	p := parser{data: form, plain: true}
	parsed, err := p.whole()
	if err != nil {
		return nil, unfit(t)
	}
	return canonical(parsed, depth)
}

func unfit(t reflect.Type) error {
	return fmt.Errorf("flask: a value of type %s can't be held by a Flask session", t)
}

func canonicalMap(v reflect.Value, depth int) (any, error) {
	if v.IsNil() {
		return nil, nil
	}
	if v.Type().Key().Kind() == reflect.String {
		object := make(map[string]any, v.Len())
		for k, item := range v.Seq2() {
			object[k.String()] = item.Interface()
		}
		return canonical(object, depth)
	}
	list := make(pairs, 0, v.Len())
	for k, item := range v.Seq2() {
		key, err := canonical(k.Interface(), depth+1)
		if err != nil || !isScalar(key) {
			return nil, unfit(v.Type())
		}
		list = append(list, pair{key, item.Interface()})
	}
	slices.SortFunc(list, func(a, b pair) int { return strings.Compare(order(a.key), order(b.key)) })
	return canonical(list, depth)
}

// order gives scalars an order: equal values have equal encodings.
func order(v any) string { return fmt.Sprintf("%T %v", v, v) }

func isScalar(v any) bool {
	switch v := v.(type) {
	case nil, bool, int64, string:
		return true
	case float64:
		return !math.IsNaN(v)
	}
	return false
}

func checkText(s string) error {
	if !utf8.ValidString(s) {
		return errText
	}
	return nil
}

func natural(n *big.Int) any {
	if n.IsInt64() {
		return n.Int64()
	}
	return n
}

func numberOf(n json.Number) (any, error) {
	if i, ok := new(big.Int).SetString(n.String(), 10); ok {
		return natural(i), nil
	}
	f, err := n.Float64()
	if err != nil {
		return nil, errors.New("flask: not a number")
	}
	return f, nil
}

var errOpaque = errors.New("flask: the value has a Python type that Go has none for")

// public returns v as an untyped Get gives it, or errOpaque. A dict whose keys are not all text is a map[any]any.
func public(v any) (any, error) {
	var err error
	switch v := v.(type) {
	case frozenset, bytearray, date, timedelta, ext, loneText, class, zone, *object:
		return nil, errOpaque
	case []any:
		return v, publicList(v)
	case Tuple:
		return v, publicList(v)
	case Set:
		return v, publicList(v)
	case map[string]any:
		for k := range v {
			if v[k], err = public(v[k]); err != nil {
				return nil, err
			}
		}
	case pairs:
		m := make(map[any]any, len(v))
		for _, p := range v {
			if !isScalar(p.key) {
				return nil, errOpaque
			}
			if m[p.key], err = public(p.value); err != nil {
				return nil, err
			}
		}
		return m, nil
	}
	return v, nil
}

func publicList(list []any) (err error) {
	for i := range list {
		if list[i], err = public(list[i]); err != nil {
			return err
		}
	}
	return nil
}

// dict makes a map of a dict's items, or pairs if a key is no text. Of a key that is there twice the last counts.
func dict(items []pair) any {
	object := make(map[string]any, len(items))
	for _, p := range items {
		key, ok := p.key.(string)
		if !ok {
			return pairs(items)
		}
		object[key] = p.value
	}
	return object
}
