package flask

import (
	"encoding/binary"
	"math"
	"math/big"
	"time"
	"unicode/utf8"
)

// msgpackReader reads msgpack as msgspec does: text is UTF-8, timestamps are of Python's years.
type msgpackReader struct {
	data  []byte
	pos   int
	depth int
}

// whole reads one value and nothing after it.
func (r *msgpackReader) whole() (any, error) {
	v, err := r.value(true)
	if err == nil && r.pos != len(r.data) {
		err = errMsgpack
	}
	return v, err
}

// take returns the next n bytes.
func (r *msgpackReader) take(n int) ([]byte, bool) {
	if n < 0 || n > len(r.data)-r.pos {
		return nil, false
	}
	r.pos += n
	return r.data[r.pos-n : r.pos], true
}

// number reads an unsigned integer of size bytes.
func (r *msgpackReader) number(size int) (uint64, bool) {
	b, ok := r.take(size)
	var n uint64
	for _, c := range b {
		n = n<<8 | uint64(c)
	}
	return n, ok
}

// length reads a length of size bytes. Every item has a byte at least, so that no length is longer than what is left.
func (r *msgpackReader) length(size int) (int, bool) {
	n, ok := r.number(size)
	return int(n), ok && n <= uint64(len(r.data)-r.pos)
}

func (r *msgpackReader) mapHeader() (int, error) {
	c, ok := r.take(1)
	if !ok {
		return 0, errMsgpack
	}
	n := int(c[0] & 15)
	switch {
	case c[0]&0xf0 == 0x80:
	case c[0] == 0xde:
		n, ok = r.length(2)
	case c[0] == 0xdf:
		n, ok = r.length(4)
	default:
		ok = false
	}
	if !ok {
		return 0, errMsgpack
	}
	return n, nil
}

// value reads one value; without build it only checks it.
func (r *msgpackReader) value(build bool) (v any, err error) {
	if r.depth++; r.depth > maxReadDepth {
		return nil, errMsgpack
	}
	defer func() { r.depth-- }()
	head, ok := r.take(1)
	if !ok {
		return nil, errMsgpack
	}
	n := 0
	switch c := head[0]; {
	case c <= 0x7f || c >= 0xe0:
		return int64(int8(c)), nil
	case c <= 0x8f:
		return r.object(int(c&15), build)
	case c <= 0x9f:
		return r.array(int(c&15), build)
	case c <= 0xbf:
		return r.text(int(c & 31))
	case c == 0xc0:
		return nil, nil
	case c == 0xc2, c == 0xc3:
		return c == 0xc3, nil
	case c >= 0xc4 && c <= 0xc6:
		if n, ok = r.length(1 << (c - 0xc4)); ok {
			b, _ := r.take(n)
			return append([]byte{}, b...), nil
		}
	case c >= 0xc7 && c <= 0xc9:
		if n, ok = r.length(1 << (c - 0xc7)); ok {
			return r.extension(n)
		}
	case c >= 0xd4 && c <= 0xd8:
		return r.extension(1 << (c - 0xd4))
	case c == 0xca:
		if bits, ok := r.number(4); ok {
			return float64(math.Float32frombits(uint32(bits))), nil
		}
	case c == 0xcb:
		if bits, ok := r.number(8); ok {
			return math.Float64frombits(bits), nil
		}
	case c >= 0xcc && c <= 0xcf:
		if u, ok := r.number(1 << (c - 0xcc)); ok {
			if u > math.MaxInt64 {
				return new(big.Int).SetUint64(u), nil
			}
			return int64(u), nil
		}
	case c >= 0xd0 && c <= 0xd3:
		size := 1 << (c - 0xd0)
		if u, ok := r.number(size); ok {
			shift := 64 - 8*size
			return int64(u<<shift) >> shift, nil
		}
	case c >= 0xd9 && c <= 0xdb:
		if n, ok = r.length(1 << (c - 0xd9)); ok {
			return r.text(n)
		}
	case c == 0xdc, c == 0xdd:
		if n, ok = r.length(2 << (c - 0xdc)); ok {
			return r.array(n, build)
		}
	case c == 0xde, c == 0xdf:
		if n, ok = r.length(2 << (c - 0xde)); ok {
			return r.object(n, build)
		}
	}
	return nil, errMsgpack
}

func (r *msgpackReader) text(n int) (any, error) {
	b, ok := r.take(n)
	if !ok || !utf8.Valid(b) {
		return nil, errMsgpack
	}
	return string(b), nil
}

func (r *msgpackReader) array(n int, build bool) (any, error) {
	var list []any
	if build {
		list = make([]any, 0, min(n, 64))
	}
	for range n {
		v, err := r.value(build)
		if err != nil {
			return nil, err
		}
		if build {
			list = append(list, v)
		}
	}
	return list, nil
}

func (r *msgpackReader) object(n int, build bool) (any, error) {
	var items []pair
	for range n {
		key, err := r.value(true)
		if err != nil {
			return nil, err
		}
		if !hashable(key) {
			return nil, errMsgpack
		}
		v, err := r.value(build)
		if err != nil {
			return nil, err
		}
		if build {
			items = append(items, pair{key, v})
		}
	}
	if !build {
		return nil, nil
	}
	return dict(items), nil
}

// hashable reports whether Python takes v for a dict's key. msgspec makes a tuple of a list there.
func hashable(v any) bool {
	switch v := v.(type) {
	case map[string]any, pairs, ext:
		return false
	case []any:
		for _, item := range v {
			if !hashable(item) {
				return false
			}
		}
	}
	return true
}

// extension reads a timestamp, or keeps what it does not know.
func (r *msgpackReader) extension(n int) (any, error) {
	code, ok := r.take(1)
	if !ok {
		return nil, errMsgpack
	}
	b, ok := r.take(n)
	if !ok {
		return nil, errMsgpack
	}
	if int8(code[0]) != -1 {
		return ext{int8(code[0]), string(b)}, nil
	}
	var seconds int64
	var nanos uint32
	switch n {
	case 4:
		seconds = int64(binary.BigEndian.Uint32(b))
	case 8:
		u := binary.BigEndian.Uint64(b)
		seconds, nanos = int64(u&(1<<34-1)), uint32(u>>34)
	case 12:
		nanos, seconds = binary.BigEndian.Uint32(b), int64(binary.BigEndian.Uint64(b[4:]))
	default:
		return nil, errMsgpack
	}
	const first, last = -62135596800, 253402300799 // years 1 and 9999
	if nanos > 999_999_999 || seconds < first || seconds > last {
		return nil, errMsgpack
	}
	t := time.Unix(seconds, int64(nanos)).UTC().Round(time.Microsecond) // as msgspec rounds
	if t.Year() > 9999 {
		return nil, errMsgpack
	}
	return t, nil
}
