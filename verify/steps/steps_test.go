package steps_test

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/hipflask/session/verify/steps"
)

// counted are the packages in which steps are counted: ours, and those of the standard library that do the work of
// parsers.
const counted = "github.com/hipflask/session/...," +
	"encoding/json,encoding/base64,encoding/binary,encoding/hex,strconv,math/big,unicode/utf8,unicod" +
	"e/utf16,slices,maps,bytes,strings,sort,reflect,regexp,time,hash/adler32,net/http,net/textproto"

// counter is the running program of that name.
type counter struct {
	run  *exec.Cmd
	said *bytes.Buffer // why it failed, and that it has no folder for its counters

	mu  sync.Mutex
	in  io.WriteCloser
	out *bufio.Reader
}

// programVariable tells the processes that a fuzz target starts where the program is.
const programVariable = "STEPS_COUNTER"

func TestMain(m *testing.M) {
	inherited := os.Getenv(programVariable) != ""
	code := m.Run()
	if program := os.Getenv(programVariable); program != "" && !inherited {
		if c, err := start(); err == nil { // a program that runs can't be removed everywhere
			c.in.Close()
			c.run.Wait()
		}
		os.RemoveAll(filepath.Dir(program))
	}
	os.Exit(code)
}

// build returns the program, and builds it if no other process has.
var build = sync.OnceValues(func() (program string, err error) {
	if program = os.Getenv(programVariable); program != "" {
		return program, nil
	}
	folder, err := os.MkdirTemp("", "steps")
	if err != nil {
		return "", err
	}
	program = filepath.Join(folder, "counter.exe")
	os.Setenv(programVariable, program)
	out, err := exec.Command("go", "build", "-cover", "-covermode=atomic", "-coverpkg="+counted, "-o",
		program, "./counter").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%v: %s", err, out)
	}
	return program, nil
})

var start = sync.OnceValues(func() (*counter, error) {
	program, err := build()
	if err != nil {
		return nil, err
	}
	c := &counter{run: exec.Command(program), said: &bytes.Buffer{}} // it ends with its stdin, so with this process
	c.run.Stderr = c.said
	out, err := c.run.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if c.in, err = c.run.StdinPipe(); err != nil {
		return nil, err
	}
	c.out = bufio.NewReader(out)
	return c, c.run.Start()
})

func (c *counter) count(parser string, data []byte) (n uint64, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, err := fmt.Fprintf(c.in, "%q %d\n%s", parser, len(data), data); err != nil {
		return 0, err
	}
	if _, err = fmt.Fscanln(c.out, &n); err != nil {
		err = fmt.Errorf("%s: the counter has ended: %v: %s", parser, err, c.said)
	}
	return n, err
}

// take returns how many steps a parser takes for data.
func take(t *testing.T, p *steps.Parser, data []byte) uint64 {
	t.Helper()
	c, err := start()
	if err != nil {
		t.Fatal(err)
	}
	n, err := c.count(p.Name, data)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestCounter: steps are counted in our packages and in the standard library's, and grow with the input.
func TestCounter(t *testing.T) {
	p := steps.ByName("JSON")
	short, long := take(t, p, []byte(`{"a":[1]}`)), take(t, p, []byte(`{"a":[`+strings.Repeat("1,", 10_000)+`1]}`))
	if short < 50 || long < short+100_000 {
		t.Errorf("got %d steps for 9 bytes and %d for 20,008", short, long)
	}
}

// TestStepsAreLinear: no shape of input takes more steps than the parser's bound for its bytes.
func TestStepsAreLinear(t *testing.T) {
	for _, p := range steps.Parsers {
		for name, shape := range shapes(p.Name) {
			for _, size := range []int{10_000, 20_000, 40_000, 80_000} {
				data := shape(size)
				if n := take(t, p, data); n > p.Bound(len(data)) {
					t.Errorf("%s, %s: %d steps for %d bytes, which is %d for each; the bound is %d",
						p.Name, name, n, len(data), n/uint64(len(data)), p.Bound(len(data)))
				} else {
					t.Logf("%s, %s: %d steps for %d bytes, which is %d for each", p.Name, name, n, len(data),
						n/uint64(len(data)))
				}
			}
		}
	}
}

// shapes returns hostile inputs for a parser, each as a function that makes one of about that many bytes.
func shapes(parser string) map[string]func(size int) []byte {
	switch parser {
	case "tagged JSON", "JSON", "Flask-Session's JSON", "Flask's cookie", "encrypted cookie":
		return jsonShapes
	case "msgpack":
		return msgpackShapes
	case "pickle", "pickle as msgpack":
		return pickleShapes
	case "cookie header", "header of Flask's cookies":
		return headerShapes
	case "record in a file":
		return fileShapes
	}
	panic("no shapes for " + parser)
}

// fill repeats text up to size.
func fill(text string, size int) string { return strings.Repeat(text, max(1, size/len(text))) }

// nested is a document of many values, each nested as deep as parsers read.
func nested(open, inner, end string) func(int) []byte {
	const levels = 240
	value := strings.Repeat(open, levels) + inner + strings.Repeat(end, levels)
	return func(size int) []byte { return []byte(`{"a":[` + fill(value+",", size) + `1]}`) }
}

// listed is a document with one long list.
func listed(item string) func(int) []byte {
	return func(size int) []byte { return []byte(`{"a":[` + fill(item+",", size) + `1]}`) }
}

// keyed is a document with many members.
func keyed(format string) func(int) []byte {
	return func(size int) []byte {
		b := []byte{'{'}
		for i := 0; len(b) < size; i++ {
			b = fmt.Appendf(b, format+",", i)
		}
		return append(b, `"z":1}`...)
	}
}

var jsonShapes = map[string]func(int) []byte{
	"lists": nested(`[`, `1`, `]`),
	"lists at the top": func(size int) []byte {
		return []byte(`{"a":` + fill("[", size/2) + fill("]", size/2) + "}")
	},
	"objects":                    nested(`{"a":`, `1`, `}`),
	"first key a space":          nested(`{" x":`, `1`, `}`),
	"first key an escape":        nested(`{"\\x":`, `1`, `}`),
	"first key an escaped space": nested(`{"\u0020t":[`, `1`, `]}`),
	"tuples":                     nested(`{" t":[`, `1`, `]}`),
	"dicts as tags":              nested(`{" di":{" t__":`, `1`, `}}`),
	"tags and lists and objects": nested(`[{" t":[{"a":{" x":`, `1`, `}}]}]`),
	"keys after the tag":         nested(`{" t":[1],"b":`, `1`, `}`),
	"keys before the tag":        nested(`{"b":1," t":`, `[]`, `}`),
	"tag after tag":              nested(`{" t":[], " t":[`, `1`, `]}`),
	"an error within tags":       nested(`{" t":[`, `}`, `]}`),
	"a tag that fails":           nested(`{" t":`, `1`, `}`),
	"the whole within tags": func(size int) []byte {
		return []byte(fill(`{" t":[`, size) + `1` + fill(`]}`, size/4))
	},
	"the whole a tagged dict": func(size int) []byte {
		return []byte(`{" di":{" t__":[` + fill(`{" t":[1]},`, size) + `1]}}`)
	},
	"one tag twice": keyed(`" t":[%d]`),
	"open brackets": func(size int) []byte { return []byte(fill(`{"a":[`, size)) },
	"open quotes":   func(size int) []byte { return []byte(`{` + fill(`"a`, size)) },
	"spaces": func(size int) []byte {
		return []byte(`{` + fill(" ", size) + `"a"` + fill(" ", size) + `:1}`)
	},
	"a long key":             func(size int) []byte { return []byte(`{"` + fill("k", size) + `":1}`) },
	"long keys":              keyed(`"` + strings.Repeat("k", 500) + `%d":1`),
	"long keys with escapes": keyed(`"` + strings.Repeat(`\u0020`, 50) + `%d":1`),
	"keys":                   keyed(`"%d":1`),
	"keys in reverse":        func(size int) []byte { return reverse(size) },
	"one key":                keyed(`"a":%d`),
	"the user's key":         keyed(`"_user_id":"%d"`),
	"keys of an object": func(size int) []byte {
		return append(append([]byte(`{"a":`), keyed(`"a":%d`)(size)...), '}')
	},
	"escapes": func(size int) []byte {
		return []byte(`{"a":"` + fill(`\n\u00e9\\`, size) + `"}`)
	},
	"surrogates": func(size int) []byte {
		return []byte(`{"a":"` + fill(`\ud83d\ude00`, size) + `"}`)
	},
	"half surrogates":               func(size int) []byte { return []byte(`{"a":"` + fill(`\ud83d`, size) + `"}`) },
	"backslashes":                   func(size int) []byte { return []byte(`{"a":"` + fill(`\\`, size) + `"}`) },
	"texts":                         listed(`"a"`),
	"UTF-8":                         listed(`"` + strings.Repeat("é", 100) + `"`),
	"text of bad UTF-8":             listed("\"\xff\""),
	"base64":                        listed(`{" b":"` + strings.Repeat("AAAA", 100) + `"}`),
	"times":                         listed(`{" d":"Thu, 29 Feb 2024 23:59:59 GMT"}`),
	"UUIDs":                         listed(`{" u":"12345678123456781234567812345678"}`),
	"markup":                        listed(`{" m":"<b>"}`),
	"one number":                    func(size int) []byte { return []byte(`{"a":1` + fill("0", size) + `}`) },
	"a fraction":                    func(size int) []byte { return []byte(`{"a":0.` + fill("1", size) + `}`) },
	"an exponent":                   func(size int) []byte { return []byte(`{"a":1e` + fill("1", size) + `}`) },
	"a tagged number":               func(size int) []byte { return []byte(`{"b":{" t":[1` + fill("0", size) + `]}}`) },
	"numbers of 4,300 digits":       listed(strings.Repeat("9", 4300)),
	"fractions of 4,300 digits":     listed("0." + strings.Repeat("9", 4300)),
	"small numbers":                 listed(`1`),
	"numbers that are hard to read": listed(`1.` + strings.Repeat("0", 30) + `1e-300`),
	"empty objects":                 listed(`{}`),
	"empty lists":                   listed(`[]`),
	"not JSON":                      func(size int) []byte { return []byte(fill("x", size)) },
}

func reverse(size int) []byte {
	b := []byte{'{'}
	for i := size / 12; i > 0; i-- {
		b = fmt.Appendf(b, `"%07d":1,`, i)
	}
	return append(b, `"":1}`...)
}

// packed is a msgpack document of one list of items.
func packed(item string) func(int) []byte {
	return func(size int) []byte {
		n := max(1, size/len(item))
		b := binary.BigEndian.AppendUint32([]byte("\x81\xa1a\xdd"), uint32(n))
		return append(b, strings.Repeat(item, n)...)
	}
}

var msgpackShapes = map[string]func(int) []byte{
	"small numbers":       packed("\x01"),
	"nested lists":        packed(strings.Repeat("\x91", 240) + "\x01"),
	"nested maps":         packed(strings.Repeat("\x81\xa1a", 240) + "\x01"),
	"maps with list keys": packed("\x81" + strings.Repeat("\x91", 200) + "\x01" + "\x01"),
	"maps as keys":        packed(strings.Repeat("\x81", 200) + "\x01"),
	"lengths that lie":    func(size int) []byte { return []byte("\x81\xa1a" + fill("\xdd\x00\x00\x10\x00", size)) },
	"map lengths that lie": func(size int) []byte {
		return []byte("\x81\xa1a" + fill("\xdf\x00\x00\x10\x00\xa1a", size))
	},
	"a long map that lies": func(size int) []byte {
		return append([]byte("\xdf\x00\x00\x27\x10"), make([]byte, size)...)
	},
	"empty texts":   packed("\xa0"),
	"texts":         packed("\xd9\xff" + strings.Repeat("x", 255)),
	"bytes":         packed("\xc4\x01x"),
	"times":         packed("\xd6\xff\x65\xe1\x1a\x7f"),
	"extensions":    packed("\xd4\x05\x01"),
	"big integers":  packed("\xcf\xff\xff\xff\xff\xff\xff\xff\xff"),
	"floats":        packed("\xcb\x3f\xf0\x00\x00\x00\x00\x00\x01"),
	"one key again": func(size int) []byte { return packedMap(size, func(int) string { return "\xa1a\x01" }) },
	"keys": func(size int) []byte {
		return packedMap(size, func(i int) string { return fmt.Sprintf("\xa6%06d\x01", i%1_000_000) })
	},
	"keys that are numbers": func(size int) []byte {
		return append([]byte("\x81\xa1a"), packedMap(size, func(int) string { return "\x01\x01" })...)
	},
	"the user's key": func(size int) []byte { return packedMap(size, func(int) string { return "\xa8_user_id\xa1a" }) },
	"JSON":           func(size int) []byte { return jsonShapes["tuples"](size) },
	"numbers in JSON": func(size int) []byte {
		return jsonShapes["numbers of 4,300 digits"](size)
	},
}

func packedMap(size int, member func(i int) string) []byte {
	n := max(1, size/len(member(0)))
	b := binary.BigEndian.AppendUint32([]byte{0xdf}, uint32(n))
	for i := range n {
		b = append(b, member(i)...)
	}
	return b
}

// pickled is a pickle of {"a": value}, after opcodes that leave nothing on the stack.
func pickled(before, value string) []byte {
	return []byte("\x80\x04" + before + "}\x8c\x01a" + value + "s.")
}

func unicode(text string) string {
	return "X" + string(binary.LittleEndian.AppendUint32(nil, uint32(len(text)))) + text
}

// again is a pickle that puts the first half of its bytes into the memo and repeats an item that names it.
func again(large func(size int) string, item string) func(int) []byte {
	return func(size int) []byte {
		return pickled(large(size/2)+"q\x010", "]("+fill(item, size/2)+"e")
	}
}

func nones(size int) string  { return "](" + fill("N", size) + "e" }
func digits(size int) string { return unicode(fill("1", size)) + "\x85" }

var pickleShapes = map[string]func(int) []byte{
	"BUILD": func(size int) []byte {
		return pickled("}(\x8c\x03intK\x07"+fill("K\x01N", size/2)+"uq\x010",
			"cuuid\nUUID\n)\x81"+fill("h\x01b", size/2))
	},
	"one list again":    again(nones, "h\x01"),
	"one text again":    again(func(size int) string { return unicode(fill("x", size)) }, "h\x01"),
	"one integer again": again(func(int) string { return "\x8b\x00\x08\x00\x00" + fill("\x7f", 2048) }, "h\x01"),
	"sets of one list":  again(func(size int) string { return nones(size) + "\x85" }, "c__builtin__\nset\nh\x01R"),
	"frozensets": again(func(size int) string {
		return nones(size) + "\x85"
	}, "cbuiltins\nfrozenset\nh\x01R"),
	"Decimals of one text": again(digits, "cdecimal\nDecimal\nh\x01R"),
	"Markup of one text": again(func(size int) string {
		return unicode(fill("x", size)) + "\x85"
	}, "cmarkupsafe\nMarkup\nh\x01\x81"),
	"bytes of one text": again(func(size int) string {
		return unicode(fill("x", size)) + unicode("latin1") + "\x86"
	}, "c_codecs\nencode\nh\x01R"),
	"a UUID of a text": func(size int) []byte {
		return pickled("", "cuuid\nUUID\n"+unicode(fill("1", size))+"\x85R")
	},
	"UUIDs of a text": again(func(size int) string {
		return "cuuid\nUUID\n" + unicode(fill("1", size)) + "\x85R"
	}, "h\x01"),
	"a list of itself":   func(size int) []byte { return pickled("", "]q\x01("+fill("h\x01", size)+"e") },
	"itself, then more":  func(size int) []byte { return pickled("", "]q\x01(h\x01"+fill("N", size)+"e") },
	"a dict of itself":   func(size int) []byte { return pickled("", "}q\x01(K\x01h\x01"+fill("K\x02N", size)+"u") },
	"APPEND":             func(size int) []byte { return pickled("", "]"+fill("Na", size)) },
	"SETITEM":            func(size int) []byte { return pickled("", "}"+fill("K\x01Ns", size)) },
	"APPENDS of nothing": func(size int) []byte { return pickled("", "]"+fill("(e", size)) },
	"MEMOIZE":            func(size int) []byte { return pickled("N"+fill("\x94", size)+"0", "N") },
	"MARK":               func(size int) []byte { return pickled(fill("(", size), "N") },
	"POP":                func(size int) []byte { return pickled(fill("N", size/2)+fill("0", size/2), "N") },
	"nested tuples":      func(size int) []byte { return pickled("", "N"+fill("\x85", min(size, 240))) },
	"tuples":             func(size int) []byte { return pickled("", "]("+fill(")\x85", size)+"e") },
	"pairs of itself":    func(size int) []byte { return pickled("", "]"+fill("q\x01h\x01\x86", size)) },
	"lists of pairs": func(size int) []byte {
		return pickled("Nq\x010", "]("+fill("h\x01h\x01\x86q\x01", size)+"e")
	},
	"sets in tuples": func(size int) []byte { return pickled("", "N"+fill("q\x010(h\x01h\x01\x91", size)) },
	"long integers": func(size int) []byte {
		return pickled("", "]("+fill("\x8b\x00\x08\x00\x00"+fill("\x7f", 2048), size)+"e")
	},
	"Decimals": func(size int) []byte {
		return pickled("", "]("+fill("cdecimal\nDecimal\n"+unicode("1.5")+"\x85R", size)+"e")
	},
	"a long Decimal": func(size int) []byte { return pickled("", "cdecimal\nDecimal\n"+digits(size)+"R") },
	"a long global":  func(size int) []byte { return pickled("", "c"+fill("x", size)) },
	"PROTO and FRAME": func(size int) []byte {
		return []byte("\x80\x04" + fill("\x95\x00\x00\x00\x00\x00\x00\x00\x00", size))
	},
	"small integers": func(size int) []byte { return pickled("", "]("+fill("K\x01", size)+"e") },
	"tuples as keys": func(size int) []byte {
		return pickled("", "}("+fill(fill("(", 100)+"N"+fill("t", 100)+"N", size)+"u")
	},
}

var headerShapes = map[string]func(int) []byte{
	"names":            func(size int) []byte { return []byte(fill("a=b; ", size)) },
	"our name":         func(size int) []byte { return []byte(fill("session=x; ", size)) },
	"our name alone":   func(size int) []byte { return []byte(fill("session;", size)) },
	"empty values":     func(size int) []byte { return []byte(fill("session=;", size)) },
	"semicolons":       func(size int) []byte { return []byte(fill(";", size)) },
	"spaces":           func(size int) []byte { return []byte(fill(" ", size)) },
	"quotes":           func(size int) []byte { return []byte(fill(`session="a"; `, size)) },
	"different ones":   func(size int) []byte { return cookies(size, 20) },
	"long ones":        func(size int) []byte { return cookies(size, 4000) },
	"one long value":   func(size int) []byte { return []byte("session=" + fill("A", size)) },
	"one long and dot": func(size int) []byte { return []byte("session=" + fill("A.", size)) },
}

func cookies(size, length int) []byte {
	var b []byte
	for i := 0; len(b) < size; i++ {
		b = fmt.Appendf(b, "session=%0*d; ", length, i)
	}
	return b
}

var fileShapes = map[string]func(int) []byte{
	"zeros":   func(size int) []byte { return make([]byte, size) },
	"magic":   func(size int) []byte { return []byte(fill("hfs\x01", size)) },
	"lengths": func(size int) []byte { return bytes.Repeat([]byte{0xff}, size) },
	"both ones": func(size int) []byte {
		return []byte(fill("hfs\x01\xff\x07\x00\x00"+strings.Repeat("\xff", 2040), size))
	},
}
