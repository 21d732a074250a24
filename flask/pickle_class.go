package flask

import (
	"encoding/binary"
	"math/big"
	"slices"
	"strings"
	"time"
)

// classes are those that have a Go type.
var classes = []class{
	"datetime\ndatetime", "datetime\ndate", "datetime\ntimedelta", "datetime\ntimezone", "uuid\nUUID",
	"decimal\nDecimal",
	"markupsafe\nMarkup", "builtins\nset", "builtins\nfrozenset", "builtins\nbytearray", "builtins\nbytes",
	"_codecs\nencode",
}

func isObject(v any) bool {
	_, ok := v.(*object)
	return ok
}

// reduce makes what a class makes of its arguments, if it is one of those that have a Go type.
func reduce(c class, args Tuple, newObj bool) (v any, ok bool) {
	var first any
	if len(args) > 0 {
		first = args[0]
	}
	if newObj && c != "uuid\nUUID" && c != "markupsafe\nMarkup" {
		return nil, false // Python writes the others as calls, and makes something else of this
	}
	switch c {
	case "datetime\ndatetime":
		b, _ := first.([]byte)
		if len(args) == 1 {
			return datetime(b, nil)
		}
		if z, is := args.last().(zone); is && len(args) == 2 {
			return datetime(b, &z)
		}
	case "datetime\ndate":
		if b, is := first.([]byte); is && len(b) == 4 && len(args) == 1 {
			_, ok = datetime(append(slices.Clone(b), make([]byte, 6)...), nil)
			return date(b), ok && b[2] < 0x80 // a date has no fold
		}
	case "datetime\ntimedelta":
		var d timedelta
		for i := range args {
			if d[i], ok = args[i].(int64); !ok || len(args) != 3 || d[i] != int64(int32(d[i])) {
				return nil, false
			}
		}
		return d, len(args) == 3 && d[0] >= -999_999_999 && d[0] <= 999_999_999 && d[1] >= 0 && d[1] < 86400 &&
			d[2] >= 0 && d[2] < 1_000_000
	case "datetime\ntimezone":
		d, is := first.(timedelta)
		offset := d[0]*86400 + d[1]
		return zone(offset), is && len(args) <= 2 && d[2] == 0 && offset > -86400 && offset < 86400
	case "uuid\nUUID":
		if newObj && len(args) == 0 {
			return &uuid{}, true
		}
		return &uuid{first}, len(args) == 1 && !newObj
	case "decimal\nDecimal":
		text, is := first.(string)
		return Decimal(text), is && len(args) == 1 && decimalText.MatchString(text)
	case "markupsafe\nMarkup":
		text, is := first.(string)
		return Markup(text), is && len(args) == 1
	case "_codecs\nencode":
		text, is := first.(string)
		if is && len(args) == 2 && (args[1] == "latin1" || args[1] == "latin-1") {
			return latin1(text)
		}
	case "builtins\nbytes":
		return []byte{}, len(args) == 0
	case "copyreg\n_reconstructor": // how protocols 0 and 1 write objects of classes without __reduce__
		if len(args) == 3 && first == class("uuid\nUUID") && args[2] == nil {
			return &uuid{}, true
		}
		if text, is := args.last().(string); len(args) == 3 && first == class("markupsafe\nMarkup") && is {
			return Markup(text), true
		}
	case "builtins\nbytearray":
		b, is := first.([]byte)
		return bytearray(b), len(args) == 0 || is && len(args) == 1
	case "builtins\nset":
		list, ok := listOf(args)
		return &box{items: list, kind: opEmptySet}, ok
	case "builtins\nfrozenset":
		list, ok := listOf(args)
		return frozenset(list), ok
	}
	return nil, false
}

// sizeOf is how many steps reduce needs at most.
func sizeOf(args Tuple) int {
	if len(args) == 0 {
		return 0
	}
	switch v := args[0].(type) {
	case string:
		return len(v)
	case *box:
		return len(v.items)
	}
	return 0
}

func (t Tuple) last() any {
	if len(t) == 0 {
		return nil
	}
	return t[len(t)-1]
}

// listOf returns the items of the one list that a set is made of.
func listOf(args Tuple) ([]any, bool) {
	if len(args) == 0 {
		return nil, true
	}
	b, ok := args[0].(*box)
	if !ok || len(args) != 1 || b.kind != opEmptyList {
		return nil, false
	}
	return slices.Clone(b.items), true
}

func latin1(text string) (any, bool) {
	b := make([]byte, 0, len(text))
	for _, c := range text {
		if c > 0xff {
			return nil, false
		}
		b = append(b, byte(c))
	}
	return b, true
}

// datetime reads the ten bytes of a datetime's state. An hour that occurs twice is taken for the first.
func datetime(b []byte, z *zone) (any, bool) {
	if len(b) != 10 {
		return nil, false
	}
	year, us := int(b[0])<<8|int(b[1]), int(b[7])<<16|int(b[8])<<8|int(b[9])
	month := time.Month(b[2] & 0x7f)
	if us > 999_999 {
		return nil, false
	}
	where := time.UTC
	if z != nil && *z != 0 {
		where = time.FixedZone("", int(*z))
	}
	t := time.Date(year, month, int(b[3]), int(b[4]), int(b[5]), int(b[6]), us*1000, where)
	// What time.Date would turn into another time is none that Python writes.
	if year < 1 || year > 9999 || t.Month() != month || t.Day() != int(b[3]) || t.Hour() != int(b[4]) ||
		t.Minute() != int(b[5]) ||
		t.Second() != int(b[6]) {
		return nil, false
	}
	if z == nil {
		return Naive(t), true
	}
	return t, true
}

// resolve takes the boxes away. A value that the pickle repeats by its memo is repeated here, and again by whoever
// writes it in another format, so each time it spends steps for its size. A value that contains itself is too deep.
func (b *budget) resolve(v any, depth int) (any, bool) {
	if depth > maxReadDepth || !b.spend(weight(v)) {
		return nil, false
	}
	switch v := v.(type) {
	case *uuid:
		return v.resolve()
	case *object:
		return b.resolveObject(v, depth)
	case Tuple:
		list, ok := b.resolveList(v, depth)
		return Tuple(list), ok
	case frozenset:
		list, ok := b.resolveList(v, depth)
		return frozenset(list), ok && allHashable(list)
	case *box:
		list, ok := b.resolveList(v.items, depth)
		switch {
		case !ok:
			return nil, false
		case v.kind == opEmptyList:
			return list, true
		case v.kind == opEmptySet:
			return Set(list), allHashable(list)
		}
		items := make([]pair, 0, len(list)/2)
		for i := 0; i < len(list); i += 2 {
			if !isHashable(list[i]) {
				return nil, false
			}
			items = append(items, pair{list[i], list[i+1]})
		}
		return dict(items), true
	}
	return v, true
}

// weight is how many steps it takes to write a value that has no items: one for 16 bytes of text, but one for each byte
// of an integer, whose decimal digits cost more.
func weight(v any) int {
	switch v := v.(type) {
	case string:
		return len(v) / 16
	case loneText:
		return len(v) / 16
	case class:
		return len(v) / 16
	case Markup:
		return len(v) / 16
	case Decimal:
		return len(v) / 16
	case []byte:
		return len(v) / 16
	case bytearray:
		return len(v) / 16
	case *big.Int:
		return v.BitLen() / 8
	}
	return 0
}

// isHashable reports whether Python takes v for a set's item or a dict's key.
func isHashable(v any) bool {
	switch v := v.(type) {
	case []any, map[string]any, pairs, Set, bytearray:
		return false
	case Tuple:
		return allHashable(v)
	}
	return true
}

func allHashable(items []any) bool {
	for _, item := range items {
		if !isHashable(item) {
			return false
		}
	}
	return true
}

func (b *budget) resolveList(items []any, depth int) ([]any, bool) {
	if !b.spend(len(items)) { // before they have room
		return nil, false
	}
	list := make([]any, len(items))
	for i, item := range items {
		var ok bool
		if list[i], ok = b.resolve(item, depth+1); !ok {
			return nil, false
		}
	}
	return list, true
}

func (u *uuid) resolve() (any, bool) {
	var id UUID
	switch v := u.value.(type) {
	case int64:
		binary.BigEndian.PutUint64(id[8:], uint64(v))
		return id, v >= 0
	case *big.Int:
		if v.Sign() < 0 || v.BitLen() > 128 {
			return nil, false
		}
		v.FillBytes(id[:])
		return id, true
	case string:
		return parseUUID(v)
	}
	return nil, false
}

// parseUUID takes the forms that uuid.UUID writes: with dashes and without.
func parseUUID(s string) (any, bool) {
	if len(s) != 32 && len(s) != 36 { // before SetString, whose work is quadratic
		return nil, false
	}
	n, ok := new(big.Int).SetString(strings.ReplaceAll(s, "-", ""), 16)
	if !ok || strings.HasPrefix(s, "+") || n.Sign() < 0 {
		return nil, false
	}
	return (&uuid{value: n}).resolve()
}
