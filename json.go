package session

import (
	"encoding/json"
	"errors"
)

var errJSON = errors.New("session: not a JSON object")

// Split finds the top-level members of a JSON object without decoding their values: encoding/json takes ten times as
// long, and a request seldom reads every value. It checks the object's own syntax; what is inside a value is checked
// when that is decoded.
func (jsonSerializer) Split(document []byte) ([]Member, error) {
	if len(document) == 0 {
		return nil, nil
	}
	s := scanner{data: document}
	s.space()
	if !s.take('{') {
		return nil, errJSON
	}
	s.space()
	var members []Member
	if !s.take('}') {
		text := string(document) // one allocation for all names
		members = make([]Member, 0, 4)
		for {
			m, ok := s.member(text)
			if !ok {
				return nil, errJSON
			}
			members = append(members, m)
			if s.space(); s.take('}') {
				break
			}
			if !s.take(',') {
				return nil, errJSON
			}
			s.space()
		}
	}
	if s.space(); s.pos != len(document) {
		return nil, errJSON
	}
	return members, nil
}

type scanner struct {
	data []byte
	pos  int
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

// member reads one name, colon and value; text is the whole document.
func (s *scanner) member(text string) (m Member, ok bool) {
	start := s.pos
	escaped, ok := s.str()
	if !ok {
		return m, false
	}
	if escaped {
		var name string // apart from m, which would be allocated for its sake
		if json.Unmarshal(s.data[start:s.pos], &name) != nil {
			return m, false
		}
		m.Name = name
	} else {
		m.Name = text[start+1 : s.pos-1]
	}
	if s.space(); !s.take(':') {
		return m, false
	}
	s.space()
	start = s.pos
	if !s.value() {
		return m, false
	}
	m.Value = s.data[start:s.pos:s.pos]
	return m, true
}

// str skips a string and reports whether it has to be decoded.
func (s *scanner) str() (escaped, ok bool) {
	if !s.take('"') {
		return false, false
	}
	for i := s.pos; i < len(s.data); i++ {
		switch c := s.data[i]; {
		case c == '"':
			s.pos = i + 1
			return escaped, true
		case c == '\\':
			escaped = true
			i++
		case c < ' ':
			return false, false
		case c >= 0x80:
			escaped = true // encoding/json decides what invalid UTF-8 becomes
		}
	}
	return false, false
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
