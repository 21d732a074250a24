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

// Pickle is what cachelib keeps in its files, and Flask-Session before 0.7 in its stores: a session as a Python pickle,
// of any protocol. Nothing is executed: it reads the values that a session is made of, and datetime, date, timedelta,
// timezone, UUID, Decimal and Markup by their names. An object of any other class, such as an OrderedDict or an enum's
// member, is kept as the steps that make it, and its key counts as absent for Get. What it writes is protocol 4.
//
// Untyped Get gives Msgpack's types, and Tuple, Set, Markup, UUID, Decimal, *big.Int of any size, Naive, and time.Time
// with its offset: here they keep their meaning. It bounds the size and the depth of what it reads, and how much a
// pickle can repeat itself by its memo: the work is linear in the pickle's bytes.
var Pickle session.Serializer = pickleSerializer{}

type pickleSerializer struct{}

func (pickleSerializer) Marshal(value any) ([]byte, error) {
	v, err := canonical(value, 1)
	if err != nil {
		return nil, err
	}
	return appendPickle(nil, v)
}

func (pickleSerializer) Unmarshal(data []byte, pointer any) error {
	v, err := runPickle(data)
	if err != nil {
		return err
	}
	if v, err = published(v, pointer); err != nil {
		return err
	}
	return assign(v, pointer)
}

func (pickleSerializer) Split(document []byte) ([]session.Member, error) {
	if len(document) == 0 {
		return nil, nil
	}
	return convert(readPickle, document, appendPickle)
}

func (pickleSerializer) Join(members []session.Member) ([]byte, error) {
	b := []byte{opProto, 4, opEmptyDict, opMark}
	for _, m := range members {
		if !isLoneText(m.Name) {
			return nil, errText
		}
		b = append(appendPickleText(b, m.Name), m.Value...)
	}
	return append(b, opSetItems, opStop), nil
}

// The opcodes that are read (Lib/pickletools.py). Those of Python 2's str and old classes, of persistent IDs and of
// extensions are errors.
const (
	opInt           = 'I'
	opLong          = 'L'
	opFloat         = 'F'
	opUnicode       = 'V'
	opDict          = 'd'
	opList          = 'l'
	opPut           = 'p'
	opGet           = 'g'
	opNewObjEx      = 0x92
	opMark          = '('
	opStop          = '.'
	opNone          = 'N'
	opPop           = '0'
	opBinInt        = 'J'
	opBinInt1       = 'K'
	opBinInt2       = 'M'
	opBinFloat      = 'G'
	opBinUnicode    = 'X'
	opBinBytes      = 'B'
	opShortBinBytes = 'C'
	opEmptyDict     = '}'
	opSetItem       = 's'
	opSetItems      = 'u'
	opEmptyList     = ']'
	opAppend        = 'a'
	opAppends       = 'e'
	opEmptyTuple    = ')'
	opTuple         = 't'
	opGlobal        = 'c'
	opReduce        = 'R'
	opBuild         = 'b'
	opBinPut        = 'q'
	opLongBinPut    = 'r'
	opBinGet        = 'h'
	opLongBinGet    = 'j'
	opProto         = 0x80
	opNewObj        = 0x81
	opTuple1        = 0x85
	opTuple2        = 0x86
	opTuple3        = 0x87
	opNewTrue       = 0x88
	opNewFalse      = 0x89
	opLong1         = 0x8a
	opLong4         = 0x8b
	opShortUnicode  = 0x8c
	opBinUnicode8   = 0x8d
	opBinBytes8     = 0x8e
	opEmptySet      = 0x8f
	opAddItems      = 0x90
	opFrozenSet     = 0x91
	opStackGlobal   = 0x93
	opMemoize       = 0x94
	opFrame         = 0x95
	opByteArray8    = 0x96
)

const (
	maxPickle        = 16 << 20 // bytes of a document
	maxPickleInteger = 2048     // bytes of one integer
)

var errHashable = errors.New("flask: a set holds no lists, dicts and sets")

var errPickle = errors.New("flask: not a pickle of a session's plain values")

// appendPickle writes a canonical value without memo, so that values can be put one behind the other.
func appendPickle(b []byte, v any) ([]byte, error) {
	switch v := v.(type) {
	case nil:
		return append(b, opNone), nil
	case bool:
		if v {
			return append(b, opNewTrue), nil
		}
		return append(b, opNewFalse), nil
	case int64:
		if v == int64(int32(v)) {
			return binary.LittleEndian.AppendUint32(append(b, opBinInt), uint32(v)), nil
		}
		return appendPickleInteger(b, big.NewInt(v))
	case *big.Int:
		return appendPickleInteger(b, v)
	case float64:
		return binary.BigEndian.AppendUint64(append(b, opBinFloat), math.Float64bits(v)), nil
	case string:
		return appendPickleText(b, v), nil
	case []byte:
		return appendPickleBytes(b, v), nil
	case bytearray:
		return append(appendPickleBytes(append(b, "cbuiltins\nbytearray\n"...), v), opTuple1, opReduce), nil
	case Markup:
		return append(appendPickleText(append(b, "cmarkupsafe\nMarkup\n"...), string(v)), opTuple1, opNewObj), nil
	case Decimal:
		return append(appendPickleText(append(b, "cdecimal\nDecimal\n"...), string(v)), opTuple1, opReduce), nil
	case UUID:
		return append(appendPickleText(append(b, "cuuid\nUUID\n"...), v.hex()), opTuple1, opReduce), nil
	case date:
		return append(appendPickleBytes(append(b, "cdatetime\ndate\n"...), v[:]), opTuple1, opReduce), nil
	case timedelta:
		return appendTimedelta(b, v), nil
	case Naive:
		return append(appendDatetime(b, time.Time(v)), opTuple1, opReduce), nil
	case time.Time:
		_, offset := v.Zone()
		if offset <= -86400 || offset >= 86400 {
			v, offset = v.UTC(), 0
		}
		return append(appendZone(appendDatetime(b, v), offset), opTuple2, opReduce), nil
	case []any:
		return appendPickleItems(append(b, opEmptyList), v, opAppends)
	case Tuple:
		return appendPickleItems(b, v, opTuple)
	case Set:
		if !allHashable(v) {
			return nil, errHashable
		}
		return appendPickleItems(append(b, opEmptySet), v, opAddItems)
	case frozenset:
		return appendPickleItems(b, v, opFrozenSet)
	case map[string]any:
		items := make(pairs, 0, len(v))
		for _, k := range sortedKeys(v) {
			items = append(items, pair{k, v[k]})
		}
		return appendPickleDict(b, items)
	case pairs:
		return appendPickleDict(b, v)
	case loneText:
		return appendPickleText(b, string(v)), nil
	case class:
		return v.appendTo(b), nil
	case zone:
		return appendZone(b, int(v)), nil
	case *object:
		return v.appendTo(b)
	}
	return nil, fmt.Errorf("flask: a value of type %T can't be held by a Flask session", v)
}

func appendPickleItems(b []byte, list []any, end byte) (_ []byte, err error) {
	b = append(b, opMark)
	for _, item := range list {
		if b, err = appendPickle(b, item); err != nil {
			return nil, err
		}
	}
	return append(b, end), nil
}

func appendPickleDict(b []byte, items pairs) (_ []byte, err error) {
	b = append(b, opEmptyDict, opMark)
	for _, p := range items {
		if b, err = appendPickle(b, p.key); err != nil {
			return nil, err
		}
		if b, err = appendPickle(b, p.value); err != nil {
			return nil, err
		}
	}
	return append(b, opSetItems), nil
}

func appendPickleText(b []byte, s string) []byte {
	return append(binary.LittleEndian.AppendUint32(append(b, opBinUnicode), uint32(len(s))), s...)
}

func appendPickleBytes(b []byte, s []byte) []byte {
	return append(binary.LittleEndian.AppendUint32(append(b, opBinBytes), uint32(len(s))), s...)
}

// appendPickleInteger writes two's complement, least byte first, in as few bytes as hold the sign.
func appendPickleInteger(b []byte, n *big.Int) ([]byte, error) {
	size := n.BitLen()/8 + 1
	if size > maxPickleInteger {
		return nil, errors.New("flask: an integer has more than 16384 bits")
	}
	m := n
	if n.Sign() < 0 {
		m = new(big.Int).Add(n, new(big.Int).Lsh(big.NewInt(1), uint(8*size)))
	}
	digits := m.FillBytes(make([]byte, size))
	slices.Reverse(digits)
	if size < 256 {
		b = append(b, opLong1, byte(size))
	} else {
		b = binary.LittleEndian.AppendUint32(append(b, opLong4), uint32(size))
	}
	return append(b, digits...), nil
}

// appendDatetime writes the class and its state, in which an hour that occurs twice is the first (fold=0).
func appendDatetime(b []byte, t time.Time) []byte {
	y, us := t.Year(), t.Nanosecond()/1000
	return appendPickleBytes(append(b, "cdatetime\ndatetime\n"...),
		[]byte{byte(y >> 8), byte(y), byte(t.Month()), byte(t.Day()),
			byte(t.Hour()), byte(t.Minute()), byte(t.Second()), byte(us >> 16), byte(us >> 8), byte(us)})
}

func appendZone(b []byte, offset int) []byte {
	d := timedelta{0, int64(offset), 0}
	if offset < 0 {
		d[0], d[1] = -1, d[1]+86400 // as Python has it
	}
	return append(appendTimedelta(append(b, "cdatetime\ntimezone\n"...), d), opTuple1, opReduce)
}

// timedelta is days, seconds and microseconds, as datetime.timedelta pickles itself.
type timedelta [3]int64

func appendTimedelta(b []byte, d timedelta) []byte {
	b = append(b, "cdatetime\ntimedelta\n"...)
	for _, n := range d {
		b = binary.LittleEndian.AppendUint32(append(b, opBinInt), uint32(n))
	}
	return append(b, opTuple3, opReduce)
}

func (d date) String() string {
	return fmt.Sprintf("%04d-%02d-%02d", int(d[0])<<8|int(d[1]), d[2], d[3])
}
