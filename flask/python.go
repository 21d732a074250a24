package flask

import (
	"encoding/json"
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// pythonText returns Python's str of a value, as a template shows it. Of a dict the items are in the order of their
// keys.
func pythonText(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case Markup:
		return string(v)
	case UUID:
		return v.String()
	case Decimal:
		return string(v)
	case date:
		return v.String()
	case time.Time:
		return strings.Replace(isoText(v, "2006-01-02 15:04:05"), "Z", "+00:00", 1)
	case Naive:
		return isoText(time.Time(v), "2006-01-02 15:04:05")
	}
	return pythonRepr(v)
}

// isoText is Python's isoformat with another layout of date and time.
func isoText(t time.Time, layout string) string {
	if t.Nanosecond()/1000 != 0 {
		layout += ".000000"
	}
	return t.Format(layout)
}

// pythonRepr returns Python's repr of a value.
func pythonRepr(v any) string {
	switch v := v.(type) {
	case nil:
		return "None"
	case bool:
		if v {
			return "True"
		}
		return "False"
	case int64:
		return strconv.FormatInt(v, 10)
	case *big.Int:
		return v.String()
	case float64:
		return strings.NewReplacer("NaN", "nan", "Infinity", "inf").Replace(string(appendFloat(nil, v, 64)))
	case string:
		return textRepr(v)
	case Markup:
		return "Markup(" + textRepr(string(v)) + ")"
	case UUID:
		return "UUID('" + v.String() + "')"
	case Decimal:
		return "Decimal('" + string(v) + "')"
	case []byte:
		return bytesRepr(v)
	case bytearray:
		return "bytearray(" + bytesRepr(v) + ")"
	case []any:
		return "[" + reprs(v) + "]"
	case Tuple:
		if len(v) == 1 {
			return "(" + pythonRepr(v[0]) + ",)"
		}
		return "(" + reprs(v) + ")"
	case Set:
		if len(v) == 0 {
			return "set()"
		}
		return "{" + reprs(v) + "}"
	case frozenset:
		return "frozenset({" + reprs(v) + "})"
	case map[string]any:
		items := make([]string, 0, len(v))
		for _, k := range sortedKeys(v) {
			items = append(items, textRepr(k)+": "+pythonRepr(v[k]))
		}
		return "{" + strings.Join(items, ", ") + "}"
	case pairs:
		items := make([]string, 0, len(v))
		for _, p := range v {
			items = append(items, pythonRepr(p.key)+": "+pythonRepr(p.value))
		}
		return "{" + strings.Join(items, ", ") + "}"
	case map[any]any:
		items := make([]string, 0, len(v))
		for k, item := range v {
			items = append(items, pythonRepr(k)+": "+pythonRepr(item))
		}
		slices.Sort(items)
		return "{" + strings.Join(items, ", ") + "}"
	case time.Time, Naive, date:
		return "'" + pythonText(v) + "'"
	case json.Number:
		return v.String()
	}
	return fmt.Sprintf("<%T>", v)
}

func reprs(list []any) string {
	items := make([]string, len(list))
	for i, v := range list {
		items[i] = pythonRepr(v)
	}
	return strings.Join(items, ", ")
}

// quoteOf returns the quote that Python's repr takes.
func quoteOf(single, double bool) byte {
	if single && !double {
		return '"'
	}
	return '\''
}

func textRepr(s string) string {
	quote := quoteOf(strings.Contains(s, "'"), strings.Contains(s, `"`))
	b := []byte{quote}
	for _, r := range s {
		switch {
		case r == rune(quote) || r == '\\':
			b = append(b, '\\', byte(r))
		case r == '\n':
			b = append(b, `\n`...)
		case r == '\r':
			b = append(b, `\r`...)
		case r == '\t':
			b = append(b, `\t`...)
		case unicode.IsPrint(r):
			b = utf8.AppendRune(b, r)
		case r < 0x100:
			b = fmt.Appendf(b, `\x%02x`, r)
		case r < 0x10000:
			b = fmt.Appendf(b, `\u%04x`, r)
		default:
			b = fmt.Appendf(b, `\U%08x`, r)
		}
	}
	return string(append(b, quote))
}

// bytesRepr is Python's repr of bytes.
func bytesRepr(s []byte) string {
	quote := quoteOf(slices.Contains(s, '\''), slices.Contains(s, '"'))
	b := []byte{'b', quote}
	for _, c := range s {
		switch {
		case c == quote || c == '\\':
			b = append(b, '\\', c)
		case c == '\t':
			b = append(b, `\t`...)
		case c == '\n':
			b = append(b, `\n`...)
		case c == '\r':
			b = append(b, `\r`...)
		case c < ' ' || c >= 0x7f:
			b = fmt.Appendf(b, `\x%02x`, c)
		default:
			b = append(b, c)
		}
	}
	return string(append(b, quote))
}
