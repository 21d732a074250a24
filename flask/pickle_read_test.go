package flask_test

import (
	"encoding/binary"
	"strings"
	"testing"

	"github.com/hipflask/session"
	"github.com/hipflask/session/flask"
)

// pickled is a pickle of {"a": value}. The opcodes of before run first and leave nothing on the stack.
func pickled(before, value string) []byte {
	return []byte("\x80\x04" + before + "}\x8c\x01a" + value + "s.")
}

// unicode is the opcode for a text.
func unicode(text string) string {
	return "X" + string(binary.LittleEndian.AppendUint32(nil, uint32(len(text)))) + text
}

// remembered puts a value into the memo, under a number, and takes it off the stack.
func remembered(n byte, value string) string { return value + "q" + string([]byte{n}) + "0" }

// TestPickleSpendsSteps: a pickle that makes its reader walk or copy the same value again and again is refused, by each
// serializer that reads pickles.
func TestPickleSpendsSteps(t *testing.T) {
	t.Parallel()
	const many = 30_000
	fields := "}(\x8c\x03intK\x07" + strings.Repeat("K\x01N", many) + "u"
	laughs := remembered(0, unicode("ha"))
	for n := byte(1); n < 40; n++ {
		laughs += remembered(n, "]("+strings.Repeat("h"+string([]byte{n - 1}), 10)+"e")
	}
	repeat := func(item string) string { return "](" + strings.Repeat(item, many) + "e" }
	for name, document := range map[string][]byte{
		// a UUID
		"BUILD": pickled(remembered(1, fields),
			"cuuid\nUUID\n)\x81"+strings.Repeat("h\x01b", many)),
		"sets of a list": pickled(remembered(1, "]("+strings.Repeat("N", many)+"e\x85"),
			repeat("c__builtin__\nset\nh\x01R")),
		"frozensets of a list": pickled(remembered(1, "]("+strings.Repeat("N", many)+"e\x85"),
			repeat("cbuiltins\nfrozenset\nh\x01R")),
		"Decimals of a text": pickled(remembered(1, unicode(strings.Repeat("1", many))+"\x85"),
			repeat("cdecimal\nDecimal\nh\x01R")),
		"bytes of a text": pickled(remembered(1, unicode(strings.Repeat("1", many))+unicode("latin1")+"\x86"),
			repeat("c_codecs\nencode\nh\x01R")),
		"one text":  pickled(remembered(1, unicode(strings.Repeat("1", 16*many))), repeat("h\x01")),
		"one list":  pickled(remembered(1, "]("+strings.Repeat("N", many)+"e"), repeat("h\x01")),
		"one tuple": pickled(remembered(1, "("+strings.Repeat("N", many)+"t"), repeat("h\x01")),
		"one dict":  pickled(remembered(1, fields), repeat("h\x01")),
		"one long integer": pickled(remembered(1, "\x8b\x00\x08\x00\x00"+strings.Repeat("\x7f", 2048)),
			repeat("h\x01")),
		"ten times ten times ten":   pickled(laughs, "h\x27"),
		"a list of itself":          pickled("", "]q\x01("+strings.Repeat("h\x01", many)+"e"),
		"a list of itself and more": pickled("", "]q\x01(h\x01"+strings.Repeat("N", many)+"e"),
	} {
		for kind, s := range map[string]session.Serializer{"Pickle": flask.Pickle, "Msgpack": flask.Msgpack,
			"JSON": flask.JSON} {
			if members, err := s.Split(document); err == nil {
				t.Errorf("%s: %s took a pickle of %d bytes, and made %d bytes of it", kind, name, len(document),
					len(members[0].Value))
			}
		}
	}
	shared := pickled(remembered(1, "}("+strings.Repeat(unicode("a")+"N", 100)+"u"),
		"]("+strings.Repeat("h\x01", 1000)+"e")
	if members, err := flask.Pickle.Split(shared); err != nil || len(members) != 1 {
		t.Errorf("a list that has one dict of 100 items 1,000 times: %v", err)
	}
}
