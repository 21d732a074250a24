package flask

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"math"
	"math/big"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"
	"unicode/utf8"
)

// Flask's tags (flask/json/tag.py).
const (
	tagDict   = " di"
	tagTuple  = " t"
	tagBytes  = " b"
	tagMarkup = " m"
	tagUUID   = " u"
	tagTime   = " d"
)

const (
	maxReadDepth = 500  // Python gives up at about 490
	maxDigits    = 4300 // Python: sys.int_info.default_max_str_digits
)

var errForm = errors.New("flask: not tagged JSON")

// Tag makes one more Python type known, as an application does with TaggedJSONSerializer.register.
type Tag struct {
	// Key is the tag's key, such as " od". Flask's own begin with a space.
	Key string

	// Encode returns what stands in v's place, if v is of the tag's type.
	Encode func(v any) (content any, ok bool)

	// Decode makes the value of it. It must not panic on any content.
	Decode func(content any) (v any, err error)
}

func isTag(more []Tag, key string) bool {
	switch key {
	case tagDict, tagTuple, tagBytes, tagMarkup, tagUUID, tagTime:
		return true
	}
	for _, t := range more {
		if t.Key == key {
			return true
		}
	}
	return false
}

// parser reads JSON as Python does, NaN and integers of any size included, and untags it from the leaves up.
type parser struct {
	data  []byte
	pos   int
	depth int
	tags  []Tag
	plain bool // tags have no meaning

	standard bool // no NaN, no infinities
	lone     bool // half a surrogate pair is text too: as bytes that are not UTF-8, see appendName
}

// whole reads one value and nothing after it.
func (p *parser) whole() (any, error) {
	v, err := p.value(true)
	if err != nil {
		return nil, err
	}
	if p.space(); p.pos != len(p.data) {
		return nil, errForm
	}
	return v, nil
}

// member says where a name, with its quotes, and its value begin and end.
type member struct{ name, colon, value, end int }

// key is the name in a document that has been checked.
func (m member) key(document []byte) []byte {
	name := document[m.name:m.colon]
	if bytes.IndexByte(name, '\\') < 0 {
		return name[1 : len(name)-1]
	}
	p := parser{data: name, lone: true}
	text, _ := p.text(true)
	return []byte(text)
}

// split appends the members of an object to found.
func (p *parser) split(found []member) ([]member, error) {
	if !utf8.Valid(p.data) {
		return nil, errForm
	}
	p.depth = 1
	if p.space(); !p.take('{') {
		return nil, errForm
	}
	for first := true; ; first = false {
		if p.space(); first && p.take('}') {
			break
		}
		if p.peek() != '"' {
			return nil, errForm
		}
		m := member{name: p.pos}
		if _, err := p.text(false); err != nil {
			return nil, err
		}
		m.colon = p.pos
		if p.space(); !p.take(':') {
			return nil, errForm
		}
		p.space()
		m.value = p.pos
		if _, err := p.value(false); err != nil {
			return nil, err
		}
		m.end = p.pos
		found = append(found, m)
		if p.space(); p.take('}') {
			break
		}
		if !p.take(',') {
			return nil, errForm
		}
	}
	if p.space(); p.pos != len(p.data) {
		return nil, errForm
	}
	return found, nil
}

// check is whole without the value, and without most of its cost.
func (p *parser) check() error {
	if !utf8.Valid(p.data) {
		return errForm
	}
	if _, err := p.value(false); err != nil {
		return err
	}
	if p.space(); p.pos != len(p.data) {
		return errForm
	}
	return nil
}

func (p *parser) space() {
	for p.pos < len(p.data) {
		switch p.data[p.pos] {
		case ' ', '\t', '\n', '\r':
			p.pos++
		default:
			return
		}
	}
}

func (p *parser) peek() byte {
	if p.pos < len(p.data) {
		return p.data[p.pos]
	}
	return 0
}

func (p *parser) take(c byte) bool {
	if p.peek() != c || p.pos >= len(p.data) {
		return false
	}
	p.pos++
	return true
}

func (p *parser) word(w string) bool {
	if !strings.HasPrefix(string(p.data[p.pos:min(len(p.data), p.pos+len(w))]), w) {
		return false
	}
	p.pos += len(w)
	return true
}

// value reads one value; without build it only checks it.
func (p *parser) value(build bool) (any, error) {
	if p.depth++; p.depth > maxReadDepth {
		return nil, errForm
	}
	defer func() { p.depth-- }()
	p.space()
	switch c := p.peek(); {
	case c == '"':
		text, err := p.text(build)
		if !build || err != nil {
			return nil, err
		}
		return text, nil
	case c == '{':
		return p.object(build)
	case c == '[':
		return p.list(build)
	case c == '-' || c >= '0' && c <= '9':
		return p.number(build)
	case p.word("null"):
		return nil, nil
	case p.word("true"):
		return true, nil
	case p.word("false"):
		return false, nil
	case !p.standard && p.word("NaN"):
		return math.NaN(), nil
	case !p.standard && p.word("Infinity"):
		return math.Inf(1), nil
	}
	return nil, errForm
}

func (p *parser) list(build bool) (any, error) {
	p.pos++
	var list []any
	if build {
		list = []any{}
	}
	if p.space(); p.take(']') {
		return list, nil
	}
	for {
		v, err := p.value(build)
		if err != nil {
			return nil, err
		}
		if build {
			list = append(list, v)
		}
		p.space()
		if p.take(']') {
			return list, nil
		}
		if !p.take(',') {
			return nil, errForm
		}
	}
}

// object reads an object. One that may be a tag is built even if it is only to be checked, with all within it, since
// its content decides whether it is valid. So each byte is read once, however deep such objects are nested.
func (p *parser) object(build bool) (any, error) {
	p.pos++
	p.space()
	empty := p.take('}')
	build = build || !empty && p.mayBeTag()
	var object map[string]any
	if build {
		object = map[string]any{}
	}
	if empty {
		return object, nil
	}
	for {
		if p.space(); p.peek() != '"' {
			return nil, errForm
		}
		key, err := p.text(build)
		if err != nil {
			return nil, err
		}
		if p.space(); !p.take(':') {
			return nil, errForm
		}
		v, err := p.value(build)
		if err != nil {
			return nil, err
		}
		if build {
			object[key] = v // of a key that is there twice the last counts, as in Python
		}
		if p.space(); p.take('}') {
			break
		}
		if !p.take(',') {
			return nil, errForm
		}
	}
	if len(object) == 1 && !p.plain {
		return p.untag(object)
	}
	return object, nil
}

// mayBeTag reports whether the object whose first key begins here can be a tag. A tag has a single key; Flask's begin
// with a space, which can be written as an escape.
func (p *parser) mayBeTag() bool {
	if p.plain || p.pos+1 >= len(p.data) {
		return false
	}
	c := p.data[p.pos+1]
	return c == ' ' || c == '\\' || len(p.tags) > 0
}

// untag gives an object of one member the type that its key stands for.
func (p *parser) untag(object map[string]any) (any, error) {
	for key, v := range object {
		for _, t := range p.tags {
			if t.Key == key {
				return t.Decode(v)
			}
		}
		text, isText := v.(string)
		switch key {
		case tagDict:
			inner, ok := v.(map[string]any)
			if !ok || len(inner) != 1 {
				return nil, errForm
			}
			for k, v := range inner {
				k, ok := strings.CutSuffix(k, "__")
				if !ok {
					return nil, errForm
				}
				return map[string]any{k: v}, nil
			}
		case tagTuple:
			list, ok := v.([]any)
			if !ok {
				return nil, errForm
			}
			return Tuple(list), nil
		case tagBytes:
			b, err := base64.StdEncoding.Strict().DecodeString(text)
			if !isText || err != nil || strings.ContainsAny(text, "\r\n") {
				return nil, errForm
			}
			return b, nil
		case tagMarkup:
			if !isText {
				return nil, errForm
			}
			return Markup(text), nil
		case tagUUID:
			var u UUID
			if len(text) != 2*len(u) {
				return nil, errForm
			}
			if _, err := hex.Decode(u[:], []byte(text)); err != nil {
				return nil, errForm
			}
			return u, nil
		case tagTime:
			t, err := time.Parse(http.TimeFormat, text)
			if err != nil || t.Year() < 100 {
				return nil, errForm
			}
			return t.UTC(), nil
		}
	}
	return object, nil
}

func (p *parser) number(build bool) (any, error) {
	start := p.pos
	p.take('-')
	if !p.standard && p.word("Infinity") {
		return math.Inf(-1), nil
	}
	digits := func() bool {
		from := p.pos
		for c := p.peek(); c >= '0' && c <= '9'; c = p.peek() {
			p.pos++
		}
		return p.pos > from
	}
	if !p.take('0') && !digits() {
		return nil, errForm
	}
	float := false
	if p.take('.') {
		if float = true; !digits() {
			return nil, errForm
		}
	}
	if c := p.peek(); c == 'e' || c == 'E' {
		p.pos++
		if c := p.peek(); c == '+' || c == '-' {
			p.pos++
		}
		if float = true; !digits() {
			return nil, errForm
		}
	}
	n := p.pos - start
	switch {
	case !float && n > maxDigits:
		return nil, errForm
	case !build && !(p.standard && float):
		return nil, nil
	}
	text := string(p.data[start:p.pos])
	if float {
		f, _ := strconv.ParseFloat(text, 64) // too large is infinity, as in Python
		if p.standard && math.IsInf(f, 0) {
			return nil, errForm
		}
		return f, nil
	}
	if i, err := strconv.ParseInt(text, 10, 64); err == nil {
		return i, nil
	}
	i, ok := new(big.Int).SetString(text, 10)
	if !ok {
		return nil, errForm
	}
	return i, nil
}

// text reads a string.
func (p *parser) text(build bool) (string, error) {
	p.pos++
	start := p.pos
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	for len(p.data)-p.pos >= 8 { // eight bytes at a time, up to a quote, a backslash or a control character
		w := binary.LittleEndian.Uint64(p.data[p.pos:])
		quote, backslash := w^ones*'"', w^ones*'\\'
		if ((w-ones*' ')&^w|(quote-ones)&^quote|(backslash-ones)&^backslash)&tops != 0 {
			break
		}
		p.pos += 8
	}
	for p.pos < len(p.data) {
		switch c := p.data[p.pos]; {
		case c == '"':
			p.pos++
			if !build {
				return "", nil
			}
			return string(p.data[start : p.pos-1]), nil
		case c == '\\':
			return p.escaped(start, build)
		case c < ' ':
			return "", errForm
		}
		p.pos++
	}
	return "", errForm
}

// escaped reads the rest of a string in which there is an escape.
func (p *parser) escaped(start int, build bool) (string, error) {
	var b []byte
	if build {
		b = append(b, p.data[start:p.pos]...)
	}
	for p.pos < len(p.data) {
		c := p.data[p.pos]
		p.pos++
		switch {
		case c == '"':
			return string(b), nil
		case c < ' ':
			return "", errForm
		case c == '\\':
			r, ok := p.escape()
			if !ok {
				return "", errForm
			}
			if build {
				b = appendLone(b, r)
			}
		case build:
			b = append(b, c)
		}
	}
	return "", errForm
}

func (p *parser) escape() (rune, bool) {
	c := p.peek()
	p.pos++
	switch c {
	case '"', '\\', '/':
		return rune(c), true
	case 'b':
		return '\b', true
	case 'f':
		return '\f', true
	case 'n':
		return '\n', true
	case 'r':
		return '\r', true
	case 't':
		return '\t', true
	case 'u':
		r, ok := p.unit()
		if !ok || !utf16.IsSurrogate(r) {
			return r, ok
		}
		half, next := r, p.pos
		if p.word(`\u`) {
			low, ok := p.unit()
			if r = utf16.DecodeRune(half, low); ok && r != utf8.RuneError {
				return r, true
			}
		}
		p.pos = next
		return half, p.lone // else no Go string can hold it
	}
	return 0, false
}

func (p *parser) unit() (rune, bool) {
	if p.pos+4 > len(p.data) {
		return 0, false
	}
	var b [2]byte
	if _, err := hex.Decode(b[:], p.data[p.pos:p.pos+4]); err != nil {
		return 0, false
	}
	p.pos += 4
	return rune(b[0])<<8 | rune(b[1]), true
}
