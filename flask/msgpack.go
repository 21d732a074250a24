package flask

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/big"
	"slices"
	"time"

	"github.com/hipflask/session"
)

// Msgpack is Flask-Session's serializer, msgpack as msgspec writes it. It reads the other form, JSON, as well, and
// writes it anew as msgpack, as Flask-Session does. It reads the pickles of Flask-Session before 0.7, too, and writes
// them as pickles again: an application that still has such a version could not read anything else. New sessions are
// msgpack, so for such an application use [Pickle].
//
// An untyped Get gives nil, bool, string, int64 (*big.Int above it), float64, []byte, []any, map[string]any
// (map[any]any if a key is no text) and time.Time in UTC, to the microsecond. Python's tuples and sets are lists here,
// UUIDs, Decimals and naive times are text; so they are when Python reads them back.
//
// What msgspec can't hold is an error when it is set: integers outside -2^63 to 2^64-1, text that is not UTF-8, times
// outside the years 1 to 9999, functions, channels, complex numbers, and more than 300 levels. A value of a Python type
// that Go has none for is kept, and counts as absent for Get.
var Msgpack session.Serializer = msgpackSerializer{}

type msgpackSerializer struct{}

func (msgpackSerializer) Marshal(value any) ([]byte, error) {
	v, err := canonical(value, 1)
	if err != nil {
		return nil, err
	}
	return appendMsgpack(nil, v)
}

func (msgpackSerializer) Unmarshal(data []byte, pointer any) error {
	if isPickled(data) {
		return Pickle.Unmarshal(data[1:], pointer)
	}
	r := msgpackReader{data: data}
	v, err := r.whole()
	if err != nil {
		return err
	}
	if v, err = published(v, pointer); err != nil {
		return err
	}
	return assign(v, pointer)
}

func (msgpackSerializer) Split(document []byte) ([]session.Member, error) {
	switch formOf(document) {
	case formNone:
		return nil, nil
	case formJSON:
		return convert(jsonDocument, document, appendMsgpack)
	case formPickle:
		return convert(readPickle, document, appendPickled)
	}
	r := msgpackReader{data: document}
	n, err := r.mapHeader()
	if err != nil {
		return nil, err
	}
	members := make([]session.Member, 0, min(n, len(document)/2))
	for range n {
		key, err := r.value(true)
		name, ok := key.(string)
		if err != nil || !ok {
			return nil, errMsgpack
		}
		start := r.pos
		if _, err := r.value(false); err != nil {
			return nil, err
		}
		members = append(members, session.Member{Name: name, Value: document[start:r.pos:r.pos]})
	}
	if r.pos != len(document) {
		return nil, errMsgpack
	}
	return members, nil
}

// Rejoin is Join for a session that was stored as a pickle, or in another format.
func (s msgpackSerializer) Rejoin(members []session.Member, before []byte) ([]byte, error) {
	return rejoin(s, members, before)
}

func (msgpackSerializer) Join(members []session.Member) ([]byte, error) {
	members, err := withoutPickles(members, appendMsgpack)
	if err != nil {
		return nil, err
	}
	b := appendLength(nil, len(members), 0x80, 15, 0, 0xde, 0xdf)
	for _, m := range members {
		if err := checkText(m.Name); err != nil {
			return nil, err
		}
		b = append(appendLength(b, len(m.Name), 0xa0, 31, 0xd9, 0xda, 0xdb), m.Name...)
		b = append(b, m.Value...)
	}
	return b, nil
}

type form uint8

const (
	formNone form = iota
	formMsgpack
	formJSON
	formPickle
)

// formOf tells the formats apart that Flask-Session reads, by their first bytes: a msgpack document is a map, and
// nothing follows an empty one.
func formOf(document []byte) form {
	switch {
	case len(document) == 0:
		return formNone
	case document[0] == '{':
		return formJSON
	case document[0] == opProto && len(document) > 1, document[0] == opMark, document[0] == opEmptyDict:
		return formPickle // of protocols 0 and 1 one begins with its dict
	}
	return formMsgpack
}

// convert takes a document of another format apart.
func convert(read func([]byte) (any, error), document []byte,
	write func([]byte, any) ([]byte, error)) ([]session.Member, error) {
	v, err := read(document)
	if err != nil {
		return nil, err
	}
	object, ok := v.(map[string]any)
	if items, is := v.(pairs); is { // a key may have half a surrogate pair
		object = make(map[string]any, len(items))
		for _, p := range items {
			switch key := p.key.(type) {
			case string:
				object[key] = p.value
			case loneText:
				object[string(key)] = p.value
			default:
				return nil, errNoDict
			}
		}
	} else if !ok {
		return nil, errNoDict
	}
	members := make([]session.Member, 0, len(object))
	for name, item := range object {
		value, err := canonical(item, 1)
		if err != nil {
			return nil, err
		}
		data, err := write(nil, value)
		if err != nil {
			return nil, err
		}
		members = append(members, session.Member{Name: name, Value: data})
	}
	return members, nil
}

var (
	errMsgpack = errors.New("flask: not a session in msgpack")
	errNoDict  = errors.New("flask: a session is a dict whose keys are text")
	errRange   = errors.New("flask: msgpack holds integers from -2^63 to 2^64-1 only")
)

// appendMsgpack writes a canonical value as msgspec 0.21 does.
func appendMsgpack(b []byte, v any) ([]byte, error) {
	switch v := v.(type) {
	case nil:
		return append(b, 0xc0), nil
	case bool:
		if v {
			return append(b, 0xc3), nil
		}
		return append(b, 0xc2), nil
	case int64:
		return appendInt(b, v), nil
	case *big.Int:
		if !v.IsUint64() {
			return nil, errRange
		}
		return binary.BigEndian.AppendUint64(append(b, 0xcf), v.Uint64()), nil
	case float64:
		return binary.BigEndian.AppendUint64(append(b, 0xcb), math.Float64bits(v)), nil
	case string:
		return append(appendLength(b, len(v), 0xa0, 31, 0xd9, 0xda, 0xdb), v...), nil
	case Markup:
		return appendMsgpack(b, string(v))
	case Decimal:
		return appendMsgpack(b, string(v))
	case UUID:
		return appendMsgpack(b, v.String())
	case date:
		return appendMsgpack(b, v.String())
	case Naive:
		text, err := v.MarshalText()
		if err != nil {
			return nil, err
		}
		return appendMsgpack(b, string(text))
	case []byte:
		return append(appendLength(b, len(v), 0, -1, 0xc4, 0xc5, 0xc6), v...), nil
	case bytearray:
		return appendMsgpack(b, []byte(v))
	case time.Time:
		return appendTimestamp(b, v), nil
	case []any:
		return appendArray(b, v)
	case Tuple:
		return appendArray(b, v)
	case Set:
		return appendArray(b, v)
	case frozenset:
		return appendArray(b, v)
	case map[string]any:
		var err error
		b = appendLength(b, len(v), 0x80, 15, 0, 0xde, 0xdf)
		for _, k := range sortedKeys(v) {
			if b, err = appendMsgpack(b, k); err != nil {
				return nil, err
			}
			if b, err = appendMsgpack(b, v[k]); err != nil {
				return nil, err
			}
		}
		return b, nil
	case pairs:
		var err error
		b = appendLength(b, len(v), 0x80, 15, 0, 0xde, 0xdf)
		for _, p := range v {
			if b, err = appendMsgpack(b, p.key); err != nil {
				return nil, err
			}
			if b, err = appendMsgpack(b, p.value); err != nil {
				return nil, err
			}
		}
		return b, nil
	}
	return nil, fmt.Errorf("flask: a value of type %T can't be held by a Flask session", v)
}

func sortedKeys(object map[string]any) []string {
	keys := make([]string, 0, len(object))
	for k := range object {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func appendArray(b []byte, list []any) (_ []byte, err error) {
	b = appendLength(b, len(list), 0x90, 15, 0, 0xdc, 0xdd)
	for _, item := range list {
		if b, err = appendMsgpack(b, item); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// appendLength writes the smallest header for a length: in the byte itself up to most, then with 1, 2 or 4 bytes. A
// code of 0 is one that the type does not have.
func appendLength(b []byte, n int, fix byte, most int, code8, code16, code32 byte) []byte {
	switch {
	case n <= most:
		return append(b, fix|byte(n))
	case n <= math.MaxUint8 && code8 != 0:
		return append(b, code8, byte(n))
	case n <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(b, code16), uint16(n))
	}
	return binary.BigEndian.AppendUint32(append(b, code32), uint32(n))
}

func appendInt(b []byte, n int64) []byte {
	switch {
	case n >= 0 && n <= math.MaxInt8, n < 0 && n >= -32:
		return append(b, byte(n))
	case n >= 0 && n <= math.MaxUint8:
		return append(b, 0xcc, byte(n))
	case n >= 0 && n <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(b, 0xcd), uint16(n))
	case n >= 0 && n <= math.MaxUint32:
		return binary.BigEndian.AppendUint32(append(b, 0xce), uint32(n))
	case n >= 0:
		return binary.BigEndian.AppendUint64(append(b, 0xcf), uint64(n))
	case n >= math.MinInt8:
		return append(b, 0xd0, byte(n))
	case n >= math.MinInt16:
		return binary.BigEndian.AppendUint16(append(b, 0xd1), uint16(n))
	case n >= math.MinInt32:
		return binary.BigEndian.AppendUint32(append(b, 0xd2), uint32(n))
	}
	return binary.BigEndian.AppendUint64(append(b, 0xd3), uint64(n))
}

// appendTimestamp writes msgpack's extension type -1, in the shortest of its three forms.
func appendTimestamp(b []byte, t time.Time) []byte {
	seconds, nanos := t.Unix(), uint32(t.Nanosecond())
	switch {
	case nanos == 0 && seconds >= 0 && seconds <= math.MaxUint32:
		return binary.BigEndian.AppendUint32(append(b, 0xd6, 0xff), uint32(seconds))
	case seconds >= 0 && seconds < 1<<34:
		return binary.BigEndian.AppendUint64(append(b, 0xd7, 0xff), uint64(nanos)<<34|uint64(seconds))
	}
	b = binary.BigEndian.AppendUint32(append(b, 0xc7, 12, 0xff), nanos)
	return binary.BigEndian.AppendUint64(b, uint64(seconds))
}
