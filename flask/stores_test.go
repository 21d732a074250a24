package flask_test

import (
	"bytes"
	"encoding/hex"
	"math"
	"math/big"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hipflask/session"
	"github.com/hipflask/session/flask"
)

func unhex(t *testing.T, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(text, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The documents were made by msgspec 0.21.1 and pickle of Python 3.11, from
//
//	{"_permanent": True, "user": "ann", "n": 5}
var smallDocuments = map[string]string{
	"msgpack":  "83 aa5f7065726d616e656e74 c3 a475736572 a3616e6e a16e 05",
	"json":     hex.EncodeToString([]byte(`{"_permanent":true,"user":"ann","n":5}`)),
	"pickle 4": "80049526000000000000007d94288c0a5f7065726d616e656e7494888c047573657294 8c03616e6e948c016e944b05752e",
	"pickle 5": "80059526000000000000007d94288c0a5f7065726d616e656e7494888c047573657294 8c03616e6e948c016e944b05752e",
}

// values decodes a whole document.
func values(t *testing.T, s session.Serializer, document []byte) map[string]any {
	t.Helper()
	members, err := s.Split(document)
	if err != nil {
		t.Fatalf("Split of %x: %v", document, err)
	}
	got := map[string]any{}
	for _, m := range members {
		var v any
		if err := s.Unmarshal(m.Value, &v); err != nil {
			t.Fatalf("%q: %v", m.Name, err)
		}
		got[m.Name] = v
	}
	return got
}

// TestFormsAreToldApart: Flask-Session reads the form that is configured, the other one, and pickles of its past.
func TestFormsAreToldApart(t *testing.T) {
	t.Parallel()
	want := map[string]any{"_permanent": true, "user": "ann", "n": int64(5)}
	for name, document := range smallDocuments {
		for reader, s := range map[string]session.Serializer{"msgpack": flask.Msgpack, "json": flask.JSON,
			"pickle": flask.Pickle} {
			if reader == "pickle" && !strings.HasPrefix(name, "pickle") {
				if _, err := s.Split(unhex(t, document)); err == nil {
					t.Errorf("Pickle took %s", name)
				}
				continue
			}
			if got := values(t, s, unhex(t, document)); !reflect.DeepEqual(got, want) {
				t.Errorf("%s read by %s: got %v, want %v", name, reader, got, want)
			}
		}
	}
	for _, s := range []session.Serializer{flask.Msgpack, flask.JSON, flask.Pickle} {
		if members, err := s.Split(nil); err != nil || len(members) != 0 {
			t.Errorf("no bytes: got %v, %v; want an empty document", members, err)
		}
		empty, err := s.Join(nil)
		if err != nil || len(values(t, s, empty)) != 0 {
			t.Errorf("an empty document: got %x, %v", empty, err)
		}
	}
}

// TestMsgpackOfMsgspec is docs in hex made by msgspec 0.21.1.
func TestMsgpackOfMsgspec(t *testing.T) {
	t.Parallel()
	document := unhex(t,
		"8baa5f7065726d616e656e74c3a475736572a3616e6ea16e05a85f666c61736865739192a76d657373616765a26869a26174"+
			"d7ff1d6f280065e11a7fa162c40200ffa166cb3ff8000000000000a1749201c0a175d924313233343536373"+
			"82d313233342d353637382d313233342d353637383132333435363738a164a4312e3530a17881a17990")
	got := values(t, flask.Msgpack, document)
	want := map[string]any{
		"_permanent": true, "user": "ann", "n": int64(5), "_flashes": []any{[]any{"message", "hi"}},
		"at": time.Date(2024, 2, 29, 23, 59, 59, 123456000, time.UTC), "b": []byte{0, 255}, "f": 1.5,
		"t": []any{int64(1), nil},
		"u": "12345678-1234-5678-1234-567812345678", "d": "1.50", "x": map[string]any{"y": []any{}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	members, err := flask.Msgpack.Split(document)
	if err != nil {
		t.Fatal(err)
	}
	if back, err := flask.Msgpack.Join(members); err != nil || !bytes.Equal(back, document) {
		t.Errorf("put together again: got %x, %v", back, err)
	}
	for want, value := range map[string]any{
		"c0": nil, "c3": true, "7f": 127, "cc80": 128, "cd0100": 256, "ce00010000": 65536,
		"cf0000000100000000": int64(1) << 32,
		"ff":                 -1, "e0": -32, "d0df": -33, "d1ff7f": -129, "d2ffff7fff": -32769,
		"cfffffffffffffffff": uint64(math.MaxUint64),
		"cb3ff8000000000000": 1.5, "cb7ff8000000000001": math.NaN(), "cb4000000000000000": 2.0, "a161": "a",
		"c40161":     []byte("a"),
		"92a161a162": flask.Tuple{"a", "b"}, "d6ff65e11a7f": time.Date(2024, 2, 29, 23, 59, 59, 0, time.UTC),
		"d7ff1d6f280065e11a7f":           time.Date(2024, 2, 29, 23, 59, 59, 123456789, time.UTC),
		"c70cff00000000fffffff1886e0900": time.Time{},
		"81a16101":                       map[string]int{"a": 1}, "810102": map[int]int{1: 2},
		"91a7e6bca2e6bca261": []string{"漢漢a"},
	} {
		if got, err := flask.Msgpack.Marshal(value); err != nil || hex.EncodeToString(got) != want {
			t.Errorf("%v: got %x, %v; want %s", value, got, err, want)
		}
	}
}

func TestTypesThroughStores(t *testing.T) {
	t.Parallel()
	at := time.Date(2024, 2, 29, 23, 59, 59, 123456000, time.FixedZone("", 19800))
	huge := new(big.Int).Lsh(big.NewInt(-3), 200)
	type cart struct {
		Items map[string]int `json:"items"`
	}
	for _, test := range []struct {
		s              session.Serializer
		name           string
		value, untyped any
	}{
		{flask.Msgpack, "bytes", []byte{0, 255}, []byte{0, 255}},
		{flask.Msgpack, "a whole float", 2.0, 2.0},
		{flask.Msgpack, "a large integer", int64(math.MinInt64), int64(math.MinInt64)},
		{flask.Msgpack, "a time", at, at.UTC()},
		{flask.Msgpack, "a tuple", flask.Tuple{1, "a"}, []any{int64(1), "a"}},
		{flask.Msgpack, "a set", flask.Set{"a"}, []any{"a"}},
		{flask.Msgpack, "a UUID", flask.UUID{1}, "01000000-0000-0000-0000-000000000000"},
		{flask.Msgpack, "numbers for keys", map[int]string{7: "a"}, map[any]any{int64(7): "a"}},
		{flask.Msgpack, "a struct", cart{map[string]int{"tea": 2}},
			map[string]any{"items": map[string]any{"tea": int64(2)}}},
		{flask.JSON, "bytes", []byte{0, 255}, "AP8="},
		{flask.JSON, "a whole float", 2.0, 2.0},
		{flask.JSON, "a time", at, "2024-02-29T23:59:59.123456+05:30"},
		{flask.JSON, "a huge integer", huge, huge},
		{flask.JSON, "numbers for keys", map[int]string{7: "a"}, map[string]any{"7": "a"}},
		{flask.Pickle, "bytes", []byte{0, 255}, []byte{0, 255}},
		{flask.Pickle, "a time", at, at},
		{flask.Pickle, "a naive time", flask.Naive(at.UTC()), flask.Naive(at.UTC())},
		{flask.Pickle, "a tuple", flask.Tuple{int64(1), "a"}, flask.Tuple{int64(1), "a"}},
		{flask.Pickle, "a set", flask.Set{"a"}, flask.Set{"a"}},
		{flask.Pickle, "a UUID", flask.UUID{1}, flask.UUID{1}},
		{flask.Pickle, "markup", flask.Markup("<b>"), flask.Markup("<b>")},
		{flask.Pickle, "a decimal", flask.Decimal("1.50"), flask.Decimal("1.50")},
		{flask.Pickle, "a huge integer", huge, huge},
		{flask.Pickle, "a flash message", []session.FlashMessage{{Category: "c", Message: "m"}},
			[]any{flask.Tuple{"c", "m"}}},
	} {
		data, err := test.s.Marshal(test.value)
		if err != nil {
			t.Errorf("%T: %s: %v", test.s, test.name, err)
			continue
		}
		var untyped any
		if err := test.s.Unmarshal(data, &untyped); err != nil {
			t.Errorf("%T: %s, untyped: %v", test.s, test.name, err)
		} else if !equal(untyped, test.untyped) {
			t.Errorf("%T: %s, untyped: got %#v, want %#v", test.s, test.name, untyped, test.untyped)
		}
		typed := reflect.New(reflect.TypeOf(test.value))
		if test.s == flask.Msgpack && test.name == "a set" || test.name == "a tuple" && test.s != flask.Pickle ||
			test.name == "a UUID" && test.s != flask.Pickle {
			continue // Python reads another type, and so does Go
		}
		if err := test.s.Unmarshal(data, typed.Interface()); err != nil ||
			!equal(typed.Elem().Interface(), test.value) {
			t.Errorf("%T: %s, typed: got %#v, %v", test.s, test.name, typed.Elem(), err)
		}
	}
}

func equal(a, b any) bool {
	if a, ok := a.(time.Time); ok {
		b, ok := b.(time.Time)
		return ok && a.Equal(b) && a.Format(time.RFC3339) == b.Format(time.RFC3339) ||
			ok && a.Location() == time.UTC && a.Equal(b)
	}
	if a, ok := a.(*big.Int); ok {
		b, ok := b.(*big.Int)
		return ok && a.Cmp(b) == 0
	}
	return reflect.DeepEqual(a, b)
}

func TestStoresRefuseWhenSet(t *testing.T) {
	t.Parallel()
	deep := any(1)
	for range 400 {
		deep = []any{deep}
	}
	early := time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, s := range []session.Serializer{flask.Msgpack, flask.JSON, flask.Pickle} {
		for name, value := range map[string]any{
			"not UTF-8": "\xff", "not UTF-8 within": map[string]any{"a": []any{"\xff"}}, "a channel": make(chan int),
			"a function": func() {},
			"the year 0": early, "the naive year 0": flask.Naive(early), "too deep": deep, "complex": 1i,
			"a key that is no text": map[string]any{"\xff": 1},
			"a map by arrays":       map[[1]int]int{{1}: 1}, "no decimal": flask.Decimal("1,5"),
		} {
			if got, err := s.Marshal(value); err == nil {
				t.Errorf("%T: %s was written as %q", s, name, got)
			}
		}
	}
	if got, err := flask.Pickle.Marshal(flask.Set{[]any{1}}); err == nil {
		t.Errorf("Pickle: a set of lists was written as %q", got)
	}
	for name, value := range map[string]any{"2^64": new(big.Int).Lsh(big.NewInt(1), 64),
		"-2^63-1": new(big.Int).Sub(big.NewInt(math.MinInt64), big.NewInt(1))} {
		if got, err := flask.Msgpack.Marshal(value); err == nil {
			t.Errorf("Msgpack: %s was written as %x", name, got)
		}
	}
	for _, f := range []float64{math.NaN(), math.Inf(1)} {
		if got, err := flask.JSON.Marshal(f); err == nil {
			t.Errorf("JSON: %v was written as %s", f, got)
		}
	}
	if _, err := flask.TaggedJSON.Marshal(flask.Set{}); err == nil {
		t.Error("TaggedJSON wrote a set, which Flask refuses")
	}
}

// TestKeptUnread: what Go has no type for is kept to the byte when another value changes, and absent for Get.
func TestKeptUnread(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		s        session.Serializer
		document string
	}{
		"an extension type": {flask.Msgpack, "81a161d40501"},
		"a list as a key":   {flask.Msgpack, "81a161819101c0"},
		"a frozenset":       {flask.Pickle, "80047d28580100000061284a01000000" + "91752e"},
		"a bytearray": {flask.Pickle,
			"80047d285801000000616362756 96c74696e730a6279746561727261790a4201000000788552752e"},
		"a date": {flask.Pickle, "80047d28580100000061636461746574696d650a646174650a420400000007e8021d8552752e"},
	} {
		document := unhex(t, test.document)
		members, err := test.s.Split(document)
		if err != nil || len(members) != 1 {
			t.Fatalf("%s: %v", name, err)
		}
		var v any
		if err := test.s.Unmarshal(members[0].Value, &v); err == nil {
			t.Errorf("%s: Get gave %#v", name, v)
		}
		if back, err := test.s.Join(members); err != nil || !bytes.Equal(back, document) {
			t.Errorf("%s: got %x, %v; want %x", name, back, err, document)
		}
	}
}

// TestPickleExecutesNothing: an object of another class is kept as it is written, and absent for Get.
func TestPickleExecutesNothing(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{
		"os.system":                 "cos\nsystem\nX\x02\x00\x00\x00id\x85R",
		"builtins.eval":             "cbuiltins\neval\nX\x01\x00\x00\x001\x85R",
		"a class as a value":        "cdatetime\ndatetime\n",
		"a name of a listed module": "cdatetime\nsys\n",
		"a call's result, called":   "cfunctools\npartial\ncos\nsystem\n\x85R)R",
		"NEWOBJ_EX":                 "cuuid\nUUID\n)}(u\x92",
		"an OrderedDict":            "ccollections\nOrderedDict\n)R(X\x01\x00\x00\x00aNu",
		"BUILD":                     "capp\nUser\n)\x81}(X\x01\x00\x00\x00aNub",
		"half a surrogate pair":     "X\x03\x00\x00\x00\xed\xa0\xbd",
		"a zone": "cdatetime\ntimezone\ncdatetime\ntimedelta\n" +
			"J\x00\x00\x00\x00J\x00\x00\x00\x00J\x00\x00\x00\x00\x87R\x85R",
		"a datetime with its own zone": "cdatetime\ndatetime\n(" +
			"B\x0a\x00\x00\x00\x07\xe8\x02\x1d\x17;;\x00\x00\x00capp\nZone\n(tRtR",
	} {
		document := "\x80\x04}(X\x01\x00\x00\x00a" + body + "X\x01\x00\x00\x00bNu."
		for _, s := range []session.Serializer{flask.Pickle, flask.Msgpack, flask.JSON} {
			members, err := s.Split([]byte(document))
			if err != nil || len(members) != 2 {
				t.Errorf("%s made the session unreadable: %v", name, err)
				continue
			}
			slices.SortFunc(members, func(a, b session.Member) int { return strings.Compare(a.Name, b.Name) })
			var v any
			if err := s.Unmarshal(members[0].Value, &v); err == nil {
				t.Errorf("%s was taken as %#v", name, v)
			}
			again, err := rejoin(s, members, []byte(document))
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			twice, err := s.Split(again)
			slices.SortFunc(twice, func(a, b session.Member) int { return strings.Compare(a.Name, b.Name) })
			if err != nil || len(twice) != 2 || !bytes.Equal(twice[0].Value, members[0].Value) {
				t.Errorf("%s: written back as %q, %v", name, again, err)
			}
		}
	}
	// What Python fails on, or makes something else of.
	for name, body := range map[string]string{
		"another codec":         "c_codecs\nencode\nX\x01\x00\x00\x00aX\x03\x00\x00\x00rot\x86R",
		"a persistent ID":       "Pabc\n",
		"INST":                  "(ios\nsystem\n",
		"OBJ":                   "(cos\nsystem\no",
		"EXT1":                  "\x82\x01",
		"BUILD of a dict":       "}}b",
		"NEWOBJ of a bytearray": "cbuiltins\nbytearray\nC\x01x\x85\x81",
		"REDUCE of a text":      "X\x01\x00\x00\x00a)R",
		"REDUCE without tuple":  "cos\nsystem\nNR",
		"SETITEMS of a text":    "X\x01\x00\x00\x00a(NNu",
	} {
		for _, document := range []string{"\x80\x04}(X\x01\x00\x00\x00a" + body + "u.", "\x80\x04" + body + "}.",
			"\x80\x04" + body + "0}."} {
			for _, s := range []session.Serializer{flask.Pickle, flask.Msgpack, flask.JSON} {
				if _, err := s.Split([]byte(document)); err == nil {
					t.Errorf("%s was taken: %q", name, document)
				}
			}
		}
	}
}

// rejoin is Rejoin, if the serializer has that, as package session calls it.
func rejoin(s session.Serializer, members []session.Member, before []byte) ([]byte, error) {
	if r, ok := s.(interface {
		Rejoin([]session.Member, []byte) ([]byte, error)
	}); ok {
		return r.Rejoin(members, before)
	}
	return s.Join(members)
}

// TestPickleIsBounded: a memo can repeat, contain itself and grow without end.
func TestPickleIsBounded(t *testing.T) {
	t.Parallel()
	laughs := "\x80\x04}(X\x01\x00\x00\x00a](K\x01e\x94"
	for i := range 40 { // 2^40 items
		laughs += "](h" + string(rune(i)) + "h" + string(rune(i)) + "e\x94"
	}
	long := "B\x00\x00\x01\x00" + strings.Repeat("x", 1<<16) + "q\x00"
	text := "X\x00\x00\x01\x00" + strings.Repeat("x", 1<<16) + "q\x00"
	for name, document := range map[string]string{
		"billion laughs":        laughs + "u.",
		"a list in itself":      "\x80\x04}(X\x01\x00\x00\x00a]q\x00h\x00au.",
		"a dict in itself":      "\x80\x04}q\x00(X\x01\x00\x00\x00ah\x00u.",
		"bytes again and again": "\x80\x04}(X\x01\x00\x00\x00a](" + long + strings.Repeat("h\x00", 1000) + "eu.",
		"copies again and again": "\x80\x04}(X\x01\x00\x00\x00a" +
			text + strings.Repeat("c_codecs\nencode\nh\x00X\x06\x00\x00\x00latin1\x86R0", 1000) + "u.",
		"deep": "\x80\x04}(X\x01\x00\x00\x00a" + strings.Repeat("]", 2000) +
			strings.Repeat("a", 1999) + "u.",
		"a length without bytes": "\x80\x04}(X\x01\x00\x00\x00aB\xff\xff\xff\xffu.",
		"a frame beyond the end": "\x80\x04\x95\x04\x00\x00\x00\x00\x00\x00\x00}.",
		"a frame in a frame":     "\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00\x95\x02\x00\x00\x00\x00\x00\x00\x00}.",
		"over a frame's end":     "\x80\x04\x95\x03\x00\x00\x00\x00\x00\x00\x00}(X\x01\x00\x00\x00aNu.",
		"a list in a set":        "\x80\x04}(X\x01\x00\x00\x00a\x8f(]\x90u.",
		"a list as a key":        "\x80\x04}(X\x01\x00\x00\x00a}(]Nuu.",
		"a memo beyond all":      "\x80\x04}r\x00\x00\x00\x7f.",
		"no STOP":                "\x80\x04}q.",
		"text after STOP":        "\x80\x04}..",
		"no decimal number":      "\x80\x04}(X\x01\x00\x00\x00acdecimal\nDecimal\nX\x01\x00\x00\x00x\x85Ru.",
		"a huge integer":         "\x80\x04}(X\x01\x00\x00\x00a\x8b\x00\x10\x00\x00" + strings.Repeat("x", 4096) + "u.",
	} {
		if _, err := flask.Pickle.Split([]byte(document)); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}

func TestMsgpackIsBounded(t *testing.T) {
	t.Parallel()
	for name, document := range map[string]string{
		"an array longer than the rest": "81a161ddffffffff", "a map longer than the rest": "dfffffffff",
		"text longer than the rest": "81a161dbffffffff",
		"deep":                      "81a161" + strings.Repeat("91", 2000) + "c0", "bytes left over": "8000",
		"no value": "81a161", "a key that is no text": "8101c0",
		"not UTF-8": "81a161a1ff", "an unhashable key": "81a1618180c0", "a timestamp of 3 bytes": "81a161c703ff000000",
		"too many nanoseconds": "81a161c70cff3b9aca000000000000000000",
		"the year 10000":       "81a161c70cff00000000000000 3afff44180", "c1": "81a161c1",
	} {
		if _, err := flask.Msgpack.Split(unhex(t, document)); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}

// The documents were made by pickle of Python 3.11, of protocols 0, 1, 2, 4 and 5, from
//
//	{"_permanent": True, "user": "ann", "n": 5, "big": 2**70, "neg": -7, "f": 1.5, "none": None,
//	 "text": "é\\\n\U0001F36A", "b": b"\0\xff", "l": [1, "a"], "t": (1, None), "s": {1}, "m": Markup("<b>"),
//	 "u": uuid.UUID(int=1), "d": Decimal("1.50"), "at": datetime(2024, 2, 29, 23, 59, 59, tzinfo=timezone.utc),
//	 "od": OrderedDict(a=1), "dd": defaultdict(list, a=[1]), "e": HTTPStatus.NOT_FOUND, "time": time(1, 2, 3),
//	 "lone": "\ud83d"}
//
// verify/interop reads in Python what Go writes of them.
func TestPicklesOfEveryProtocol(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("testdata/pickles.txt")
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2024, 2, 29, 23, 59, 59, 0, time.UTC)
	want := map[string]any{
		"_permanent": true, "user": "ann", "n": int64(5), "big": new(big.Int).Lsh(big.NewInt(1), 70),
		"neg": int64(-7), "f": 1.5, "none": nil,
		"text": "é\\\n\U0001F36A", "b": []byte{0, 255}, "l": []any{int64(1), "a"}, "t": flask.Tuple{int64(1), nil},
		"s": flask.Set{int64(1)},
		"m": flask.Markup("<b>"), "u": flask.UUID{15: 1}, "d": flask.Decimal("1.50"), "at": at,
	}
	for _, line := range strings.Fields(string(text)) {
		document := unhex(t, line)
		for name, s := range map[string]session.Serializer{"pickle": flask.Pickle, "msgpack": flask.Msgpack,
			"json": flask.JSON} {
			members, err := s.Split(document)
			if err != nil {
				t.Errorf("%s, %.8s: %v", name, line, err)
				continue
			}
			again, err := rejoin(s, members, document)
			if err != nil || again[0] != 0x80 {
				t.Errorf("%s, %.8s: is no pickle any more, %v", name, line, err)
			}
			for _, read := range [][]byte{document, again} {
				members, err := s.Split(read)
				if err != nil {
					t.Fatalf("%s, %.8s: %v", name, line, err)
				}
				got := map[string]any{}
				absent := 0
				for _, m := range members {
					var v any
					if s.Unmarshal(m.Value, &v) != nil {
						absent++
						continue
					}
					if d, ok := v.(time.Time); ok {
						v = d.UTC()
					}
					got[m.Name] = v
				}
				if !reflect.DeepEqual(got, want) || absent != 5 {
					t.Errorf("%s, %.8s: %d absent, want 5, and\n got %#v\nwant %#v", name, line, absent, got, want)
				}
			}
		}
	}
}
