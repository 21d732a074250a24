package flask

import (
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// object is a Python object of which nothing is known here but the steps that make it. They are written again, never
// run.
type object struct {
	make  byte  // opReduce, opNewObj or opNewObjEx
	from  []any // the class, or another object, and the arguments
	steps []step
}

// step changes an object after it was made: opBuild, or an opcode that puts items into it.
type step struct {
	op    byte
	items []any
}

// then adds a step.
func (o *object) then(op byte, items []any) bool {
	switch op {
	case opAppend:
		op = opAppends
	case opSetItem:
		op = opSetItems
	}
	if op == opSetItems && len(items)%2 != 0 {
		return false
	}
	o.steps = append(o.steps, step{op, items})
	return true
}

func (b *budget) resolveObject(o *object, depth int) (any, bool) {
	from, ok := b.resolveList(o.from, depth)
	if !ok || !b.spend(len(o.steps)) {
		return nil, false
	}
	resolved := &object{make: o.make, from: from}
	for _, s := range o.steps {
		items, ok := b.resolveList(s.items, depth)
		if !ok {
			return nil, false
		}
		resolved.steps = append(resolved.steps, step{s.op, items})
	}
	return resolved, true
}

// appendTo writes the steps.
func (o *object) appendTo(b []byte) (_ []byte, err error) {
	for _, v := range o.from {
		if b, err = appendPickle(b, v); err != nil {
			return nil, err
		}
	}
	b = append(b, o.make)
	for _, s := range o.steps {
		if s.op != opBuild {
			b = append(b, opMark)
		}
		for _, v := range s.items {
			if b, err = appendPickle(b, v); err != nil {
				return nil, err
			}
		}
		b = append(b, s.op)
	}
	return b, nil
}

func (c class) appendTo(b []byte) []byte {
	return append(append(append(b, opGlobal), c...), '\n')
}

// loneText is Python text with half of a surrogate pair, in UTF-8 that is extended to such (Python's surrogatepass).
type loneText string

// isLoneText reports whether s is UTF-8 that may have surrogates.
func isLoneText(s string) bool {
	for {
		at := strings.IndexByte(s, 0xed)
		if at < 0 || at+2 >= len(s) {
			return utf8.ValidString(s)
		}
		if !utf8.ValidString(s[:at]) || s[at+1]&0xc0 != 0x80 || s[at+2]&0xc0 != 0x80 {
			return false
		}
		s = s[at+3:]
	}
}

func appendLone(b []byte, r rune) []byte {
	if utf16.IsSurrogate(r) {
		return append(b, 0xed, byte(r>>6)&0x3f|0x80, byte(r)&0x3f|0x80)
	}
	return utf8.AppendRune(b, r)
}
