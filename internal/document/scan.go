package document

import (
	"encoding/binary"
	"encoding/json"
	"math/bits"
	"unicode/utf8"
)

// scanner finds the parts of a JSON text without decoding them. encoding/json takes ten times as long, and a request
// seldom reads every value.
type scanner struct {
	data []byte
	pos  int
}

// end returns an error if anything but space is left.
func (s *scanner) end() error {
	if s.space(); s.pos != len(s.data) {
		return errJSON
	}
	return nil
}

func (s *scanner) space() {
	for s.pos < len(s.data) {
		switch s.data[s.pos] {
		case ' ', '\t', '\n', '\r':
			s.pos++
		default:
			return
		}
	}
}

func (s *scanner) take(c byte) bool {
	if s.pos < len(s.data) && s.data[s.pos] == c {
		s.pos++
		return true
	}
	return false
}

// member reads one name, colon and value.
func (s *scanner) member() (name, value []byte, ok bool) {
	start := s.pos
	escaped, ok := s.str()
	if !ok {
		return nil, nil, false
	}
	name = s.data[start+1 : s.pos-1]
	if escaped {
		if name, ok = unescape(s.data[start:s.pos]); !ok {
			return nil, nil, false
		}
	}
	if s.space(); !s.take(':') {
		return nil, nil, false
	}
	s.space()
	start = s.pos
	if !s.value() {
		return nil, nil, false
	}
	return name, s.data[start:s.pos:s.pos], true
}

// unescape is a function of its own because json.Unmarshal would move the variables of member to the heap.
func unescape(quoted []byte) ([]byte, bool) {
	var text string
	err := json.Unmarshal(quoted, &text)
	return []byte(text), err == nil
}

// str skips a string and reports whether it has to be decoded.
func (s *scanner) str() (escaped, ok bool) {
	if !s.take('"') {
		return false, false
	}
	for i := s.pos; i < len(s.data); i++ {
		if i += Plain(s.data[i:]); i == len(s.data) {
			break
		}
		switch c := s.data[i]; {
		case c == '"':
			s.pos = i + 1
			return escaped, true
		case c == '\\':
			escaped = true
			i++
		case c < ' ':
			return false, false
		default:
			escaped = true // encoding/json decides what invalid UTF-8 becomes
		}
	}
	return false, false
}

// Plain returns how many bytes at the beginning of text stand in a JSON string as they are: ASCII with nothing to
// escape. It checks eight bytes at a time, since most bytes of a session are text.
func Plain(text []byte) (n int) {
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	for ; len(text)-n >= 8; n += 8 {
		w := binary.LittleEndian.Uint64(text[n:])
		quote, backslash := w^ones*'"', w^ones*'\\' // zero bytes where they stand
		// The top bit of each byte that is 0x80 or more, below a space, or one of the two. A borrow can set others too,
		// but only behind one that is right.
		stop := (w | (w-ones*' ')&^w | (quote-ones)&^quote | (backslash-ones)&^backslash) & tops
		if stop != 0 {
			return n + bits.TrailingZeros64(stop)/8
		}
	}
	for n < len(text) && text[n] >= ' ' && text[n] != '"' && text[n] != '\\' && text[n] < utf8.RuneSelf {
		n++
	}
	return n
}

// value skips one value: a string, brackets that match in number, or a literal.
func (s *scanner) value() bool {
	start, depth := s.pos, 0
	for s.pos < len(s.data) {
		switch s.data[s.pos] {
		case '"':
			if _, ok := s.str(); !ok {
				return false
			}
		case '{', '[':
			depth++
			s.pos++
		case '}', ']':
			if depth == 0 {
				return s.pos > start
			}
			depth--
			s.pos++
		case ',', ' ', '\t', '\n', '\r':
			if depth == 0 {
				return s.pos > start
			}
			s.pos++
			continue
		default:
			s.pos++
			continue
		}
		if depth == 0 {
			return true
		}
	}
	return false
}
