package flask

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/big"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/hipflask/session"
	"github.com/hipflask/session/internal/document"
)

// maxWriteDepth is below the depth at which Python's encoder gives up, about 330.
const maxWriteDepth = 300

var (
	errText  = errors.New("flask: text is not valid UTF-8")
	errYear  = errors.New("flask: Flask keeps times of the years 100 to 9999 only")
	errSet   = errors.New("flask: Flask's cookie holds no set")
	errDepth = fmt.Errorf("flask: a value is nested deeper than %d levels", maxWriteDepth)
)

// encoder writes tagged JSON as Flask does (flask/json/tag.py): no spaces, sorted keys, ASCII.
type encoder struct {
	tags  []Tag
	depth int
}

func (e *encoder) value(b []byte, v any) ([]byte, error) {
	e.depth++
	defer func() { e.depth-- }()
	if e.depth > maxWriteDepth {
		return nil, errDepth
	}
	for _, t := range e.tags {
		if content, ok := t.Encode(v); ok {
			return e.tagged(b, t.Key, content)
		}
	}
	switch v := v.(type) {
	case nil:
		return append(b, "null"...), nil
	case bool:
		return strconv.AppendBool(b, v), nil
	case string:
		return appendText(b, v)
	case int:
		return strconv.AppendInt(b, int64(v), 10), nil
	case int64:
		return strconv.AppendInt(b, v, 10), nil
	case uint64:
		return strconv.AppendUint(b, v, 10), nil
	case float64:
		return appendFloat(b, v, 64), nil
	case *big.Int:
		if v == nil {
			return append(b, "null"...), nil
		}
		return v.Append(b, 10), nil
	case json.Number:
		return e.number(b, v)
	case []byte:
		return e.tagged(b, tagBytes, base64.StdEncoding.EncodeToString(v))
	case Markup:
		return e.tagged(b, tagMarkup, string(v))
	case UUID:
		return e.tagged(b, tagUUID, v.hex())
	case time.Time:
		if y := v.UTC().Year(); y < 100 || y > 9999 {
			return nil, errYear
		}
		return e.tagged(b, tagTime, v.UTC().Format(http.TimeFormat))
	case Tuple:
		return e.tagged(b, tagTuple, []any(v))
	case session.FlashMessage: // flask/helpers.py, flash
		return e.tagged(b, tagTuple, []any{v.Category, v.Message})
	case document.Flash:
		return e.value(b, flashed(v))
	case Set:
		return nil, errSet
	case []any:
		return e.list(b, len(v), func(i int) any { return v[i] })
	case map[string]any:
		return e.object(b, v)
	}
	return e.reflected(b, reflect.ValueOf(v))
}

func (e *encoder) tagged(b []byte, tag string, content any) ([]byte, error) {
	b = append(b, '{')
	b, err := appendText(b, tag)
	if err != nil {
		return nil, err
	}
	b = append(b, ':')
	if b, err = e.value(b, content); err != nil {
		return nil, err
	}
	return append(b, '}'), nil
}

func (e *encoder) list(b []byte, n int, item func(int) any) ([]byte, error) {
	var err error
	b = append(b, '[')
	for i := range n {
		if i > 0 {
			b = append(b, ',')
		}
		if b, err = e.value(b, item(i)); err != nil {
			return nil, err
		}
	}
	return append(b, ']'), nil
}

func (e *encoder) object(b []byte, object map[string]any) ([]byte, error) {
	keys := make([]string, 0, len(object))
	for k := range object {
		keys = append(keys, k)
	}
	slices.Sort(keys) // the order of UTF-8 bytes is that of code points
	if len(keys) == 1 && isTag(e.tags, keys[0]) {
		return e.tagged(b, tagDict, map[string]any{keys[0] + "__": object[keys[0]]})
	}
	var err error
	b = append(b, '{')
	for i, k := range keys {
		if i > 0 {
			b = append(b, ',')
		}
		if b, err = appendText(b, k); err != nil {
			return nil, err
		}
		b = append(b, ':')
		if b, err = e.value(b, object[k]); err != nil {
			return nil, err
		}
	}
	return append(b, '}'), nil
}

// number writes what is an integer of any size, or a float.
func (e *encoder) number(b []byte, n json.Number) ([]byte, error) {
	if i, ok := new(big.Int).SetString(n.String(), 10); ok {
		return i.Append(b, 10), nil
	}
	f, err := n.Float64()
	if err != nil {
		return nil, errors.New("flask: not a number")
	}
	return appendFloat(b, f, 64), nil
}

// reflected writes other types: by their kind, or by their JSON form.
func (e *encoder) reflected(b []byte, v reflect.Value) ([]byte, error) {
	t := v.Type()
	if !t.Implements(jsonMarshaler) && !t.Implements(textMarshaler) {
		switch v.Kind() {
		case reflect.Bool:
			return e.value(b, v.Bool())
		case reflect.String:
			return e.value(b, v.String())
		case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
			return e.value(b, v.Int())
		case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
			return e.value(b, v.Uint())
		case reflect.Float32:
			return appendFloat(b, v.Float(), 32), nil
		case reflect.Float64:
			return e.value(b, v.Float())
		case reflect.Pointer:
			if v.IsNil() {
				return append(b, "null"...), nil
			}
			return e.value(b, v.Elem().Interface())
		case reflect.Slice:
			if v.IsNil() {
				return append(b, "null"...), nil
			}
			if t.Elem().Kind() == reflect.Uint8 {
				return e.value(b, v.Bytes())
			}
			return e.list(b, v.Len(), func(i int) any { return v.Index(i).Interface() })
		case reflect.Array:
			return e.list(b, v.Len(), func(i int) any { return v.Index(i).Interface() })
		case reflect.Map:
			if t.Key().Kind() == reflect.String && !t.Key().Implements(textMarshaler) {
				if v.IsNil() {
					return append(b, "null"...), nil
				}
				object := make(map[string]any, v.Len())
				for k, item := range v.Seq2() {
					object[k.String()] = item.Interface()
				}
				return e.object(b, object)
			}
		}
	}
	form, err := session.JSON.Marshal(v.Interface()) // the same with every release of Go
	if err != nil {
		return nil, fmt.Errorf("flask: a value of type %s can't be held by a Flask session", t)
	}
	p := parser{data: form, plain: true}
	parsed, err := p.whole()
	if err != nil {
		return nil, fmt.Errorf("flask: a value of type %s can't be held by a Flask session", t)
	}
	return e.value(b, parsed)
}

var (
	jsonMarshaler = reflect.TypeFor[json.Marshaler]()
	textMarshaler = reflect.TypeFor[interface{ MarshalText() ([]byte, error) }]()
)

// appendText writes a string as Python's json does with ensure_ascii.
func appendText(b []byte, s string) ([]byte, error) {
	b = append(b, '"')
	for i := 0; i < len(s); {
		c := s[i]
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c >= ' ' && c < 0x7f:
			b = append(b, c)
		case c == '\n':
			b = append(b, `\n`...)
		case c == '\r':
			b = append(b, `\r`...)
		case c == '\t':
			b = append(b, `\t`...)
		case c == '\f':
			b = append(b, `\f`...)
		case c == '\b':
			b = append(b, `\b`...)
		case c < utf8.RuneSelf:
			b = appendUnit(b, uint16(c))
		default:
			r, size := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && size == 1 {
				return nil, errText
			}
			i += size
			if r > 0xffff {
				r -= 0x10000
				b = appendUnit(appendUnit(b, uint16(0xd800+r>>10)), uint16(0xdc00+r&0x3ff))
			} else {
				b = appendUnit(b, uint16(r))
			}
			continue
		}
		i++
	}
	return append(b, '"'), nil
}

// appendName is appendText for a session's key, which may have come with half a surrogate pair: see parser.lone.
func appendName(b []byte, s string) ([]byte, error) {
	at := 0
	for ; at+2 < len(s); at++ {
		if s[at] == 0xed && s[at+1] >= 0xa0 {
			break
		}
	}
	if at+2 >= len(s) || utf8.ValidString(s) {
		return appendText(b, s)
	}
	b, err := appendText(b, s[:at])
	if err != nil {
		return nil, err
	}
	b = appendUnit(b[:len(b)-1], uint16(s[at]&0xf)<<12|uint16(s[at+1]&0x3f)<<6|uint16(s[at+2]&0x3f))
	rest, err := appendName(nil, s[at+3:])
	if err != nil {
		return nil, err
	}
	return append(b, rest[1:]...), nil
}

func appendUnit(b []byte, u uint16) []byte {
	const digits = "0123456789abcdef"
	return append(b, '\\', 'u', digits[u>>12], digits[u>>8&15], digits[u>>4&15], digits[u&15])
}

// appendFloat is Python's repr of a float: the shortest digits that read back the same, plain for exponents from -4 to
// 15. strconv's 'g' has other limits.
func appendFloat(b []byte, f float64, bits int) []byte {
	switch {
	case math.IsNaN(f):
		return append(b, "NaN"...)
	case math.IsInf(f, 1):
		return append(b, "Infinity"...)
	case math.IsInf(f, -1):
		return append(b, "-Infinity"...)
	}
	text := strconv.FormatFloat(f, 'e', -1, bits)
	exponent, _ := strconv.Atoi(text[strings.IndexByte(text, 'e')+1:])
	if exponent < -4 || exponent >= 16 {
		return append(b, text...)
	}
	n := len(b)
	b = strconv.AppendFloat(b, f, 'f', -1, bits)
	if !slices.Contains(b[n:], '.') {
		b = append(b, ".0"...)
	}
	return b
}
