package flask

import (
	"encoding/binary"
	"math"
	"math/big"
	"slices"
	"strings"
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
	frame int // where the frame ends that the machine is in, 0: in none. No opcode reaches over that.

	budget budget
}

// budget is how many steps are left. Most opcodes cost as much time as they have bytes. But with the memo a few bytes can
// name the same large value again and again, so whatever walks or copies a value spends steps for its size.
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
	class string
	zone  int64 // seconds
	uuid  struct{ value any }
)

// readPickle returns the value of a whole pickle.
func readPickle(document []byte) (any, error) {
	if len(document) < 3 || document[0] != opProto || document[1] < 2 || document[1] > 5 {
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
	u := unpickler{data: data, budget: freeSteps + budget(stepsPerByte*len(data))}
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
	return ok && utf8.Valid(b) && u.push(string(b)) // Python would also take lone surrogates
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
		return false
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
	default:
		return false
	}
	if !ok {
		return false
	}
	if op == opBinGet || op == opLongBinGet {
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
		rest := string(u.data[u.pos:min(len(u.data), u.pos+128)])
		module, rest, ok1 := strings.Cut(rest, "\n")
		name, _, ok2 := strings.Cut(rest, "\n")
		u.pos += len(module) + len(name) + 2
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
		list, ok1 := args.(Tuple)
		name, ok2 := callee.(class)
		if !ok1 || !ok2 {
			return false
		}
		if !u.budget.spend(sizeOf(list)) {
			return false
		}
		v, ok := reduce(name, list, op == opNewObj)
		return ok && u.push(v)
	case opBuild: // the state of a UUID, after NEWOBJ without arguments
		state, _ := u.pop()
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
	c := class(module + "." + name)
	return slices.Contains(classes, c) && u.push(c)
}
