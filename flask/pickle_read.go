package flask

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// unpickler is a pickle's stack machine, without the part that calls anything: what a class would make of its arguments
// is made here, for the few classes that have a name in reduce.
type unpickler struct {
	data  []byte
	pos   int
	stack []any
	marks []int
	memo  map[uint32]any
	old   bool // of protocol 0 to 2, which have Python 2's names
	frame int  // where the frame ends that the machine is in, 0: in none. No opcode reaches over that.

	budget budget
}

// budget is how many steps are left. Most opcodes cost as much time as they have bytes. But with the memo a few bytes
// can name the same large value again and again, so whatever walks or copies a value spends steps for its size.
type budget int

const (
	freeSteps    = 1 << 18 // of every pickle, however short
	stepsPerByte = 4       // a value that does not repeat itself takes about one
)

// spend takes n steps and reports whether there were as many.
func (b *budget) spend(n int) bool {
	*b -= budget(n)
	return *b >= 0
}

// Containers are boxes while the machine runs, since it can fill them after others refer to them.
type (
	box struct {
		items []any // of a dict: key, value, key, value ...
		kind  byte  // the opcode that makes an empty one
	}
	class string // module and name, with a newline between
	zone  int64  // seconds
	uuid  struct{ value any }
)

// readPickle returns the value of a whole pickle.
func readPickle(document []byte) (any, error) {
	if formOf(document) != formPickle {
		return nil, errPickle
	}
	return run(document, true)
}

// runPickle runs the opcodes of one value, as appendPickle writes them.
func runPickle(data []byte) (any, error) { return run(data, false) }

// run runs opcodes to their end, which is STOP if they are a whole pickle, and where one value has to be left.
func run(data []byte, whole bool) (any, error) {
	if len(data) > maxPickle {
		return nil, errPickle
	}
	u := unpickler{data: data, old: whole && (data[0] != opProto || data[1] < 3),
		budget: freeSteps + budget(stepsPerByte*len(data))}
	stopped := false
	for u.pos < len(u.data) && !stopped {
		op := u.data[u.pos]
		u.pos++
		if op == opStop {
			stopped = true
		} else if !u.step(op) {
			return nil, errPickle
		}
		if u.frame != 0 && u.pos > u.frame {
			return nil, errPickle
		}
		if u.pos == u.frame && op != opFrame {
			u.frame = 0
		}
	}
	if stopped != whole || u.pos != len(u.data) || len(u.stack) != 1 || len(u.marks) != 0 {
		return nil, errPickle
	}
	v, ok := u.budget.resolve(u.stack[0], 1)
	if !ok {
		return nil, errPickle
	}
	return v, nil
}

func (u *unpickler) push(v any) bool {
	u.stack = append(u.stack, v)
	return true
}

// bottom is where the part of the stack begins that may be popped.
func (u *unpickler) bottom() int {
	if len(u.marks) == 0 {
		return 0
	}
	return u.marks[len(u.marks)-1]
}

func (u *unpickler) pop() (any, bool) {
	n := len(u.stack)
	if n <= u.bottom() {
		return nil, false
	}
	v := u.stack[n-1]
	u.stack = u.stack[:n-1]
	return v, true
}

// popMark returns a copy of what stands above the last mark.
func (u *unpickler) popMark() ([]any, bool) {
	if len(u.marks) == 0 {
		return nil, false
	}
	from := u.bottom()
	u.marks = u.marks[:len(u.marks)-1]
	items := slices.Clone(u.stack[from:])
	u.stack = u.stack[:from]
	return items, true
}

func (u *unpickler) bytes(n uint64) ([]byte, bool) {
	if n > uint64(len(u.data)-u.pos) {
		return nil, false
	}
	u.pos += int(n)
	return u.data[u.pos-int(n) : u.pos], true
}

// number reads an unsigned integer of size bytes, least byte first.
func (u *unpickler) number(size int) (uint64, bool) {
	b, ok := u.bytes(uint64(size))
	var n [8]byte
	copy(n[:], b)
	return binary.LittleEndian.Uint64(n[:]), ok
}

// counted reads a length of size bytes and so many bytes.
func (u *unpickler) counted(size int) ([]byte, bool) {
	n, ok := u.number(size)
	if !ok {
		return nil, false
	}
	return u.bytes(n)
}

func (u *unpickler) step(op byte) bool {
	switch op {
	case opProto:
		v, ok := u.number(1)
		return ok && u.pos == 2 && v >= 2 && v <= 5
	case opFrame:
		n, ok := u.number(8)
		if !ok || u.frame != 0 || n > uint64(len(u.data)-u.pos) {
			return false
		}
		u.frame = u.pos + int(n)
		return true
	case opMark:
		u.marks = append(u.marks, len(u.stack))
		return true
	case opPop:
		_, ok := u.pop()
		return ok
	case opNone:
		return u.push(nil)
	case opNewTrue, opNewFalse:
		return u.push(op == opNewTrue)
	case opBinInt:
		n, ok := u.number(4)
		return ok && u.push(int64(int32(n)))
	case opBinInt1:
		n, ok := u.number(1)
		return ok && u.push(int64(n))
	case opBinInt2:
		n, ok := u.number(2)
		return ok && u.push(int64(n))
	case opLong1:
		return u.long(1)
	case opLong4:
		return u.long(4)
	case opBinFloat:
		b, ok := u.bytes(8)
		return ok && u.push(math.Float64frombits(binary.BigEndian.Uint64(b)))
	case opShortUnicode:
		return u.text(1)
	case opBinUnicode:
		return u.text(4)
	case opBinUnicode8:
		return u.text(8)
	case opShortBinBytes:
		b, ok := u.counted(1)
		return ok && u.push(slices.Clone(b))
	case opBinBytes:
		b, ok := u.counted(4)
		return ok && u.push(slices.Clone(b))
	case opBinBytes8:
		b, ok := u.counted(8)
		return ok && u.push(slices.Clone(b))
	case opByteArray8:
		b, ok := u.counted(8)
		return ok && u.push(bytearray(slices.Clone(b)))
	case opEmptyDict, opEmptyList, opEmptySet:
		return u.push(&box{kind: op})
	case opSetItem, opSetItems, opAppend, opAppends, opAddItems:
		return u.fill(op)
	case opEmptyTuple:
		return u.push(Tuple{})
	case opTuple1, opTuple2, opTuple3:
		n := len(u.stack) - int(op-opTuple1) - 1
		if n < u.bottom() {
			return false
		}
		items := slices.Clone(u.stack[n:])
		u.stack = u.stack[:n]
		return u.push(Tuple(items))
	case opDict, opList:
		items, ok := u.popMark()
		kind := byte(opEmptyList)
		if op == opDict {
			kind, ok = opEmptyDict, ok && len(items)%2 == 0
		}
		return ok && u.push(&box{items, kind})
	case opInt, opLong, opFloat, opUnicode:
		return u.line(op)
	case opTuple:
		items, ok := u.popMark()
		return ok && u.push(Tuple(items))
	case opFrozenSet:
		items, ok := u.popMark()
		return ok && u.push(frozenset(items))
	}
	return u.memory(op) || u.object(op)
}

func (u *unpickler) text(size int) bool {
	b, ok := u.counted(size)
	switch {
	case ok && utf8.Valid(b):
		return u.push(string(b))
	case ok && isLoneText(string(b)):
		return u.push(loneText(b))
	}
	return false
}

func (u *unpickler) long(size int) bool {
	b, ok := u.counted(size)
	if !ok || len(b) > maxPickleInteger {
		return false
	}
	b = slices.Clone(b)
	slices.Reverse(b)
	n := new(big.Int).SetBytes(b)
	if len(b) > 0 && b[0] >= 0x80 {
		n.Sub(n, new(big.Int).Lsh(big.NewInt(1), uint(8*len(b))))
	}
	return u.push(natural(n))
}

// fill puts items into the container below them.
func (u *unpickler) fill(op byte) bool {
	var items []any
	ok := true
	switch op {
	case opSetItem:
		n := len(u.stack) - 2
		if n < u.bottom() {
			return false
		}
		items = slices.Clone(u.stack[n:])
		u.stack = u.stack[:n]
	case opAppend:
		var v any
		v, ok = u.pop()
		items = []any{v}
	default:
		items, ok = u.popMark()
	}
	if !ok || len(u.stack) <= u.bottom() {
		return false
	}
	target, ok := u.stack[len(u.stack)-1].(*box)
	if !ok {
		o, ok := u.stack[len(u.stack)-1].(*object)
		return ok && o.then(op, items)
	}
	switch target.kind {
	case opEmptyDict:
		ok = (op == opSetItem || op == opSetItems) && len(items)%2 == 0
	case opEmptyList:
		ok = op == opAppend || op == opAppends
	case opEmptySet:
		ok = op == opAddItems
	}
	target.items = append(target.items, items...)
	return ok
}

// memory runs the opcodes of the memo.
func (u *unpickler) memory(op byte) bool {
	var n uint64
	ok := true
	switch op {
	case opMemoize:
		n = uint64(len(u.memo))
	case opBinPut, opBinGet:
		n, ok = u.number(1)
	case opLongBinPut, opLongBinGet:
		n, ok = u.number(4)
	case opPut, opGet:
		var text string
		if text, ok = u.untilNewline(); ok {
			var err error
			n, err = strconv.ParseUint(text, 10, 32)
			ok = err == nil
		}
	default:
		return false
	}
	if !ok {
		return false
	}
	if op == opBinGet || op == opLongBinGet || op == opGet {
		v, ok := u.memo[uint32(n)]
		return ok && u.push(v)
	}
	if len(u.stack) <= u.bottom() || n > uint64(len(u.data)) { // Python keeps the memo in an array
		return false
	}
	if u.memo == nil {
		u.memo = make(map[uint32]any)
	}
	u.memo[uint32(n)] = u.stack[len(u.stack)-1]
	return true
}

func (u *unpickler) object(op byte) bool {
	switch op {
	case opGlobal:
		module, ok1 := u.untilNewline()
		name, ok2 := u.untilNewline()
		return ok1 && ok2 && u.class(module, name)
	case opStackGlobal:
		name, _ := u.pop()
		module, _ := u.pop()
		m, ok1 := module.(string)
		n, ok2 := name.(string)
		return ok1 && ok2 && u.class(m, n)
	case opReduce, opNewObj:
		args, _ := u.pop()
		callee, _ := u.pop()
		list, ok := args.(Tuple)
		if !ok || !u.budget.spend(sizeOf(list)) {
			return false
		}
		switch callee := callee.(type) {
		case class:
			if v, ok := reduce(callee, list, op == opNewObj); ok {
				return u.push(v)
			}
			if slices.Contains(classes, callee) && !slices.ContainsFunc(list, isObject) {
				return false // Python fails, or makes something else of it
			}
			return u.push(&object{make: op, from: []any{callee, list}})
		case *object:
			return u.push(&object{make: op, from: []any{callee, list}})
		}
		return false
	case opNewObjEx:
		named, _ := u.pop()
		args, _ := u.pop()
		callee, ok := u.pop()
		_, ok1 := callee.(class)
		_, ok2 := args.(Tuple)
		_, ok3 := named.(*box)
		return ok && ok1 && ok2 && ok3 && u.push(&object{make: op, from: []any{callee, args, named}})
	case opBuild: // the state of a UUID, after NEWOBJ without arguments
		state, ok := u.pop()
		if ok && len(u.stack) > u.bottom() {
			if o, is := u.stack[len(u.stack)-1].(*object); is {
				return o.then(op, []any{state})
			}
		}
		fields, ok := state.(*box)
		if !ok || len(u.stack) <= u.bottom() {
			return false
		}
		id, ok := u.stack[len(u.stack)-1].(*uuid)
		if !ok || fields.kind != opEmptyDict || !u.budget.spend(len(fields.items)) {
			return false
		}
		for i := 0; i < len(fields.items); i += 2 {
			if fields.items[i] == "int" {
				id.value = fields.items[i+1]
			}
		}
		return true
	}
	return false
}

func (u *unpickler) class(module, name string) bool {
	if u.old { // Lib/_compat_pickle.py
		switch module {
		case "__builtin__":
			module = "builtins"
			switch name {
			case "unicode":
				name = "str"
			case "long":
				name = "int"
			case "xrange":
				name = "range"
			}
		case "copy_reg":
			module = "copyreg"
		case "UserDict", "UserList", "UserString":
			module = "collections"
		}
	}
	if module == "" || name == "" || strings.Contains(module+name, "\n") || !utf8.ValidString(module+name) {
		return false
	}
	return u.push(class(module + "\n" + name))
}

// untilNewline reads a line, of a pickle that has lines.
func (u *unpickler) untilNewline() (string, bool) {
	n := bytes.IndexByte(u.data[u.pos:], '\n')
	if n < 0 {
		return "", false
	}
	u.pos += n + 1
	return string(u.data[u.pos-n-1 : u.pos-1]), true
}

// line runs the opcodes of protocol 0 that have a line of text.
func (u *unpickler) line(op byte) bool {
	text, ok := u.untilNewline()
	if !ok {
		return false
	}
	switch op {
	case opFloat:
		f, err := strconv.ParseFloat(text, 64)
		return (err == nil || errors.Is(err, strconv.ErrRange)) && !strings.ContainsAny(text, "xX_") && u.push(f)
	case opUnicode:
		return u.escaped(text)
	case opInt:
		if text == "00" || text == "01" {
			return u.push(text == "01")
		}
	case opLong:
		text = strings.TrimSuffix(text, "L")
	}
	if len(text) > maxDigits || strings.HasPrefix(text, "+") || strings.Contains(text, "_") {
		return false
	}
	n, ok := new(big.Int).SetString(text, 10)
	return ok && u.budget.spend(len(text)*len(text)/64) && u.push(natural(n))
}

// escaped reads text in Python's raw-unicode-escape: Latin-1, with every backslash before a u or U.
func (u *unpickler) escaped(text string) bool {
	var b []byte
	lone := false
	for i := 0; i < len(text); i++ {
		r := rune(text[i])
		if r == '\\' {
			digits := 4
			if i+1 < len(text) && text[i+1] == 'U' {
				digits = 8
			} else if i+1 >= len(text) || text[i+1] != 'u' {
				return false // Python escapes each backslash
			}
			if i+2+digits > len(text) {
				return false
			}
			n, err := strconv.ParseUint(text[i+2:i+2+digits], 16, 32)
			if err != nil || n > unicode.MaxRune {
				return false
			}
			r, i = rune(n), i+1+digits
		}
		if utf16.IsSurrogate(r) {
			lone = true
		}
		b = appendLone(b, r)
	}
	if lone {
		return isLoneText(string(b)) && u.push(loneText(b))
	}
	return u.push(string(b))
}
