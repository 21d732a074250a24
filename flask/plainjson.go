package flask

import (
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/hipflask/session"
)

// JSON is Flask-Session's serializer with SESSION_SERIALIZATION_FORMAT = "json", JSON as msgspec writes it. It reads
// the other form, msgpack, as well, and writes it anew as JSON; and pickles, which stay pickles, as for [Msgpack].
//
// JSON has few types: bytes are base64 text, times are ISO text, tuples and sets are lists, when Python reads them back
// too. A Key of the type reads them all the same. NaN and infinities, for which msgspec writes null, are an error when
// they are set.
var JSON session.Serializer = plainJSON{}

type plainJSON struct{}

func (plainJSON) Marshal(value any) ([]byte, error) {
	v, err := canonical(value, 1)
	if err != nil {
		return nil, err
	}
	return appendPlainJSON(nil, v)
}

func (plainJSON) Unmarshal(data []byte, pointer any) error {
	if isPickled(data) {
		return Pickle.Unmarshal(data[1:], pointer)
	}
	v, err := jsonDocument(data)
	if err != nil {
		return err
	}
	if err = assign(v, pointer); err == errType {
		err = session.JSON.Unmarshal(data, pointer)
	}
	return err
}

func (plainJSON) Split(document []byte) ([]session.Member, error) {
	switch formOf(document) {
	case formNone:
		return nil, nil
	case formMsgpack:
		return convert(func(b []byte) (any, error) {
			r := msgpackReader{data: b}
			return r.whole()
		}, document, appendPlainJSON)
	case formPickle:
		return convert(readPickle, document, appendPickled)
	}
	p := parser{data: document, plain: true, standard: true}
	if err := p.check(); err != nil {
		return nil, err
	}
	return session.JSON.Split(document)
}

// Rejoin is Join for a session that was stored as a pickle, or in another format.
func (s plainJSON) Rejoin(members []session.Member, before []byte) ([]byte, error) {
	return rejoin(s, members, before)
}

func (plainJSON) Join(members []session.Member) ([]byte, error) {
	members, err := withoutPickles(members, appendPlainJSON)
	if err != nil {
		return nil, err
	}
	b := []byte{'{'}
	for i, m := range members {
		if err := checkText(m.Name); err != nil {
			return nil, err
		}
		if i > 0 {
			b = append(b, ',')
		}
		b = append(appendRawText(b, m.Name), ':')
		b = append(b, m.Value...)
	}
	return append(b, '}'), nil
}

// jsonDocument reads one value of this form.
func jsonDocument(document []byte) (any, error) {
	if !utf8.Valid(document) {
		return nil, errForm
	}
	p := parser{data: document, plain: true, standard: true}
	return p.whole()
}

var errNaN = errors.New("flask: Flask-Session's JSON has no NaN and no infinity")

// appendPlainJSON writes a canonical value as msgspec 0.21 does.
func appendPlainJSON(b []byte, v any) ([]byte, error) {
	switch v := v.(type) {
	case nil:
		return append(b, "null"...), nil
	case bool:
		return strconv.AppendBool(b, v), nil
	case int64:
		return strconv.AppendInt(b, v, 10), nil
	case *big.Int:
		return v.Append(b, 10), nil
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return nil, errNaN
		}
		return appendShortFloat(b, v), nil
	case string:
		return appendRawText(b, v), nil
	case Markup:
		return appendRawText(b, string(v)), nil
	case Decimal:
		return appendRawText(b, string(v)), nil
	case UUID:
		return appendRawText(b, v.String()), nil
	case date:
		return appendRawText(b, v.String()), nil
	case Naive:
		text, err := v.MarshalText()
		return appendRawText(b, string(text)), err
	case time.Time:
		return appendRawText(b, isoTime(v)), nil
	case []byte:
		return appendRawText(b, base64.StdEncoding.EncodeToString(v)), nil
	case bytearray:
		return appendPlainJSON(b, []byte(v))
	case []any:
		return appendJSONList(b, v)
	case Tuple:
		return appendJSONList(b, v)
	case Set:
		return appendJSONList(b, v)
	case frozenset:
		return appendJSONList(b, v)
	case map[string]any:
		items := make(pairs, 0, len(v))
		for _, k := range sortedKeys(v) {
			items = append(items, pair{k, v[k]})
		}
		return appendJSONObject(b, items)
	case pairs:
		return appendJSONObject(b, v)
	}
	return nil, fmt.Errorf("flask: a value of type %T can't be held by a Flask session", v)
}

func appendJSONList(b []byte, list []any) (_ []byte, err error) {
	b = append(b, '[')
	for i, item := range list {
		if i > 0 {
			b = append(b, ',')
		}
		if b, err = appendPlainJSON(b, item); err != nil {
			return nil, err
		}
	}
	return append(b, ']'), nil
}

// appendJSONObject writes a dict. Keys that are numbers are text, as msgspec makes of them; others it refuses.
func appendJSONObject(b []byte, items pairs) (_ []byte, err error) {
	b = append(b, '{')
	for i, p := range items {
		if i > 0 {
			b = append(b, ',')
		}
		key, err := appendPlainJSON(nil, p.key)
		switch p.key.(type) {
		case int64, *big.Int, float64:
			key = append(append([]byte{'"'}, key...), '"')
		case string, Decimal, UUID, date, Naive, time.Time, []byte:
		default:
			err = errors.New("flask: a dict's key can't be held by JSON")
		}
		if err != nil {
			return nil, err
		}
		b = append(append(b, key...), ':')
		if b, err = appendPlainJSON(b, p.value); err != nil {
			return nil, err
		}
	}
	return append(b, '}'), nil
}

// isoTime is Python's isoformat with Z for UTC.
func isoTime(t time.Time) string {
	layout := "2006-01-02T15:04:05"
	if t.Nanosecond()/1000 != 0 {
		layout += ".000000"
	}
	return t.Format(layout + "Z07:00")
}

// appendRawText writes a string as it is, but for what JSON has to escape.
func appendRawText(b []byte, s string) []byte {
	const digits = "0123456789abcdef"
	b = append(b, '"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c >= ' ':
			b = append(b, c)
		case strings.IndexByte("\b\t\n\f\r", c) >= 0:
			b = append(b, '\\', "btn?fr"[c-'\b'])
		default:
			b = append(b, '\\', 'u', '0', '0', digits[c>>4], digits[c&15])
		}
	}
	return append(b, '"')
}

// appendShortFloat writes the shortest digits that read back the same: plain if the point stands at most five places
// before the first digit and sixteen behind it, as msgspec lays them out.
func appendShortFloat(b []byte, f float64) []byte {
	text := strconv.FormatFloat(f, 'e', -1, 64)
	mantissa, exponent, _ := strings.Cut(text, "e")
	e, _ := strconv.Atoi(exponent)
	if e >= -5 && e < 16 || f == 0 {
		n := len(b)
		b = strconv.AppendFloat(b, f, 'f', -1, 64)
		if !strings.Contains(string(b[n:]), ".") {
			b = append(b, ".0"...)
		}
		return b
	}
	b = append(append(b, mantissa...), 'e')
	return strconv.AppendInt(b, int64(e), 10)
}
