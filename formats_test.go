package session_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/hipflask/session"
)

type text string

type point struct {
	X float64 `json:"x"`
	N *point  `json:"n,omitempty"`
}

type marshaler struct{ s string }

func (m marshaler) MarshalJSON() ([]byte, error) { return []byte(`{"s": "` + m.s + `"}`), nil }

type complaining struct{}

func (complaining) MarshalJSON() ([]byte, error) {
	return nil, &json.UnsupportedValueError{Str: "planted-value"}
}

// want is the encoding, back what an untyped Get gives for it.
var jsonValues = []struct {
	value any
	want  string
	back  any
}{
	{nil, `null`, nil},
	{true, `true`, true},
	{false, `false`, false},
	{0, `0`, int64(0)},
	{-1, `-1`, int64(-1)},
	{int8(-128), `-128`, int64(-128)},
	{uint16(65535), `65535`, int64(65535)},
	{int64(math.MaxInt64), `9223372036854775807`, int64(math.MaxInt64)},
	{int64(math.MinInt64), `-9223372036854775808`, int64(math.MinInt64)},
	{uint64(math.MaxInt64), `9223372036854775807`, int64(math.MaxInt64)},
	{uint64(math.MaxInt64 + 1), `9223372036854775808`, uint64(math.MaxInt64 + 1)},
	{uint64(math.MaxUint64), `18446744073709551615`, uint64(math.MaxUint64)},
	{json.Number("18446744073709551616"), `18446744073709551616`, json.Number("18446744073709551616")},
	{json.Number("1e999"), `1e999`, json.Number("1e999")},
	{0.0, `0.0`, 0.0},
	{2.0, `2.0`, 2.0},
	{-2.0, `-2.0`, -2.0},
	{math.Copysign(0, -1), `-0.0`, math.Copysign(0, -1)},
	{0.1, `0.1`, 0.1},
	{1e20, `100000000000000000000.0`, 1e20},
	{1e21, `1e+21`, 1e21},
	{1e-6, `0.000001`, 1e-6},
	{1e-7, `1e-07`, 1e-7},
	{math.MaxFloat64, `1.7976931348623157e+308`, math.MaxFloat64},
	{math.SmallestNonzeroFloat64, `5e-324`, math.SmallestNonzeroFloat64},
	{float64(1 << 53), `9007199254740992.0`, float64(1 << 53)},
	{float32(2), `2.0`, 2.0},
	{float32(0.1), `0.1`, 0.1},
	{time.Duration(5), `5`, int64(5)},
	{"", `""`, ""},
	{"plain", `"plain"`, "plain"},
	{text("named"), `"named"`, "named"},
	{"quote \" slash \\ / line\nNUL\x00 del\x7f", "\"quote \\\" slash \\\\ / line\\nNUL\\u0000 del\x7f\"",
		"quote \" slash \\ / line\nNUL\x00 del\x7f"},
	{"<b>&amp;", `"<b>&amp;"`, "<b>&amp;"},
	{"<ä>", `"<ä>"`, "<ä>"},
	{"ä€😀\u2028", "\"ä€😀\\u2028\"", "ä€😀\u2028"},
	{[]int(nil), `null`, nil},
	{[]int{}, `[]`, []any{}},
	{[]float64{1, 2.5}, `[1.0,2.5]`, []any{1.0, 2.5}},
	{[2]float32{1, 2}, `[1.0,2.0]`, []any{1.0, 2.0}},
	{[]byte("\x00\xff"), `"AP8="`, "AP8="},
	{[]any{1, 2.0, "a", nil, []any{}}, `[1,2.0,"a",null,[]]`, []any{int64(1), 2.0, "a", nil, []any{}}},
	{map[string]any(nil), `null`, nil},
	{map[string]any{"id": int64(1<<53 + 1)}, `{"id":9007199254740993}`, map[string]any{"id": int64(1<<53 + 1)}},
	{map[string]any{}, `{}`, map[string]any{}},
	{map[string]float64{"b": 2, "a": 1, "": 0}, `{"":0.0,"a":1.0,"b":2.0}`,
		map[string]any{"": 0.0, "a": 1.0, "b": 2.0}},
	{map[text]any{"a": map[string]any{"b": 1.0}}, `{"a":{"b":1.0}}`, map[string]any{"a": map[string]any{"b": 1.0}}},
	{map[int]string{2: "b", 1: "a"}, `{"1":"a","2":"b"}`, map[string]any{"1": "a", "2": "b"}},
	{time.Unix(0, 0).UTC(), `"1970-01-01T00:00:00Z"`, "1970-01-01T00:00:00Z"},
	{[]time.Time{time.Unix(0, 0).UTC()}, `["1970-01-01T00:00:00Z"]`, []any{"1970-01-01T00:00:00Z"}},
	{marshaler{"x"}, `{"s":"x"}`, map[string]any{"s": "x"}},
	{json.RawMessage(`[ 1 , 2.0 ]`), `[1,2.0]`, []any{int64(1), 2.0}},
	{point{X: 0.5, N: &point{X: 1.5}}, `{"x":0.5,"n":{"x":1.5}}`,
		map[string]any{"x": 0.5, "n": map[string]any{"x": 1.5}}},
}

func TestJSONValues(t *testing.T) {
	t.Parallel()
	for _, c := range jsonValues {
		data, err := session.JSON.Marshal(c.value)
		if err != nil || string(data) != c.want {
			t.Errorf("%#v: got %s, %v, want %s", c.value, data, err, c.want)
			continue
		}
		var v any
		if err := session.JSON.Unmarshal(data, &v); err != nil || !same(v, c.back) {
			t.Errorf("%s: got %#v, %v, want %#v", c.want, v, err, c.back)
		}
		_, isStruct := c.value.(point) // whose fields have an order of their own
		if again, err := session.JSON.Marshal(v); err != nil || string(again) != c.want && !isStruct {
			t.Errorf("%s: got %s, %v when it is set again, want the same bytes", c.want, again, err)
		}
		// As its own type, which a Key gives.
		if _, is := c.value.(marshaler); is || c.value == nil {
			continue
		}
		typed := reflect.New(reflect.TypeOf(c.value))
		if err := session.JSON.Unmarshal(data, typed.Interface()); err != nil {
			t.Errorf("%s: got %v as %T", c.want, err, c.value)
		} else if again, _ := session.JSON.Marshal(typed.Elem().Interface()); string(again) != c.want {
			t.Errorf("%s: got %s by way of %T", c.want, again, c.value)
		}
	}
}

// same compares as DeepEqual, but tells a negative zero from zero.
func same(a, b any) bool {
	x, isFloat := a.(float64)
	y, _ := b.(float64)
	return reflect.DeepEqual(a, b) && (!isFloat || math.Signbit(x) == math.Signbit(y))
}

// What JSON has no form for is refused, with an error that does not quote the value; nothing hangs, nothing overflows.
func TestJSONRefuses(t *testing.T) {
	t.Parallel()
	cyclicMap := map[string]any{"planted": "planted-value"}
	cyclicMap["self"] = cyclicMap
	cyclicSlice := []any{"planted-value", nil}
	cyclicSlice[1] = cyclicSlice
	cyclicPointer := &point{X: 1}
	cyclicPointer.N = cyclicPointer
	var both any
	both = map[string]any{"a": []any{&both}}
	var itself any
	itself = &itself
	deep := any("planted-value")
	for range 100_000 {
		deep = []any{deep}
	}
	for name, v := range map[string]any{
		"NaN": math.NaN(), "infinity": math.Inf(1), "minus infinity": math.Inf(-1),
		"NaN within":      map[string]any{"planted-value": []float64{math.NaN()}},
		"NaN in a struct": point{X: math.NaN()}, "float32 NaN": float32(math.NaN()),
		"channel": make(chan int), "function": func() {}, "complex": complex(1, 1),
		"channel within": []any{make(chan int)},
		"map by struct":  map[point]string{{X: 1}: "planted-value"},
		"map by float":   map[float64]string{1: "planted-value"},
		"not UTF-8":      "planted-value\xff", "not UTF-8 within": []string{"planted-value\xff"},
		"not UTF-8 in a name":                     map[string]int{"planted-value\xff": 1},
		"not UTF-8 in a struct":                   labelled{Label: "planted-value\xff"},
		"not UTF-8 in a pointer":                  &labelled{Inner: &labelled{Label: "planted-value\xff"}},
		"not UTF-8 in a list of structs":          []any{labelled{List: []string{"\ufffd", "planted-value\xff"}}},
		"not UTF-8 in a struct's map":             labelled{Map: map[text]any{"planted-value\xff": 1}},
		"not UTF-8 in an any":                     labelled{Any: map[string]any{"a": []any{text("planted-value\xff")}}},
		"not UTF-8 in an embedded struct":         struct{ labelled }{labelled{Label: "planted-value\xff"}},
		"not UTF-8 by MarshalText":                []any{badText{}},
		"not UTF-8 as a map's key by MarshalText": map[badText]int{{}: 1},
		"not UTF-8 by MarshalJSON":                labelled{Any: json.RawMessage("\"planted-value\xff\"")},
		"not UTF-8 by an alias":                   aliased{Label: "planted-value\xff"},
		"not UTF-8 in a flash":                    session.FlashMessage{Category: "a", Message: "planted-value\xff"},
		"half a surrogate":                        "\xed\xa0\x80", "named text": text("planted-value\xff"),
		"map in itself": cyclicMap, "slice in itself": cyclicSlice, "pointer to itself": cyclicPointer,
		"pointer and map": both, "pointer to itself in an interface": itself,
		"deep": deep, "complaining": complaining{}, "raw": json.RawMessage(`{"planted-value":`),
		"number": json.Number("planted-value"),
	} {
		data, err := session.JSON.Marshal(v)
		if err == nil {
			t.Errorf("%s: got %.80s, want an error", name, data)
			continue
		}
		if !strings.HasPrefix(err.Error(), "session: ") || strings.Contains(err.Error(), "planted") {
			t.Errorf("%s: got %q, want session: and no value", name, err)
		}
	}
	nested := any("end")
	for range 900 {
		nested = map[string]any{"a": nested}
	}
	if _, err := session.JSON.Marshal(nested); err != nil {
		t.Errorf("900 levels: got %v, want them taken", err)
	}
}

type labelled struct {
	Label string
	Inner *labelled    `json:",omitempty"`
	List  []string     `json:",omitempty"`
	Map   map[text]any `json:",omitempty"`
	Any   any          `json:",omitempty"`
	Bytes []byte       `json:",omitempty"`
	Not   string       `json:"-"`
}

// aliased encodes itself by encoding/json, as many types do that add something.
type aliased labelled

func (a aliased) MarshalJSON() ([]byte, error) { return json.Marshal(labelled(a)) }

type badText struct{}

func (badText) MarshalText() ([]byte, error) { return []byte("planted-value\xff"), nil }

// U+FFFD itself is a text like others, and bytes are no text.
func TestJSONReplacementCharacter(t *testing.T) {
	t.Parallel()
	loop := &labelled{Label: "\ufffd"}
	for _, v := range []any{
		"\ufffd", []string{"\ufffd"}, labelled{Label: "\ufffd", Bytes: []byte("\xff"), Not: "\xff", Inner: loop,
			Any: []any{loop, aliased{Label: `\ufffd`}}},
		aliased{Label: "\ufffd"}, map[string]labelled{"\ufffd": {List: []string{"\ufffd"}}},
		session.FlashMessage{Message: "\ufffd"},
	} {
		data, err := session.JSON.Marshal(v)
		if err != nil {
			t.Errorf("%T: got %v, want it taken", v, err)
			continue
		}
		got := reflect.New(reflect.TypeOf(v))
		if err := session.JSON.Unmarshal(data, got.Interface()); err != nil ||
			!strings.Contains(fmt.Sprintf("%+v", got.Elem()), "\ufffd") {
			t.Errorf("%T: got %+v, %v, want U+FFFD kept", v, got.Elem(), err)
		}
	}
}

// A value of another type than asked for is an error, whatever it is; nothing half decoded remains of it.
func TestJSONUnmarshalOtherTypes(t *testing.T) {
	t.Parallel()
	targets := []func() any{
		func() any { return new(string) }, func() any { return new(int) }, func() any {
			return new(uint8)
		}, func() any { return new(bool) },
		func() any { return new(float64) }, func() any { return new([]int) }, func() any {
			return new(map[string]int)
		}, func() any { return new(point) },
		func() any { return new(any) }, func() any { return new(session.FlashMessage) }, func() any {
			return new(time.Time)
		},
	}
	for _, data := range []string{
		"", " ", "x", "tru", "nul", "truee", "nullx", "01", "1.", ".5", "+1", "1e", "0x10", "1_000",
		"1 2", "1,2", "-", "--1", "NaN", "Infinity",
		`"`, `"a`, `a"`, `"a"b`, `"\x"`, `"\u12"`, "\"\x01\"", "\"line\n\"", `'a'`, `""""`, "[", "]",
		"[1", "[1,]", "[,1]", "[1 2]", "[1}", "{", "}", "{]", `{"a"}`, `{"a":}`,
		`{"a":1,}`, `{a:1}`, `{"a":1]`, `{"a":1}}`, "\xff", "\x00", "1\x00", "/**/1", strings.Repeat("[", 100_000),
		strings.Repeat(`{"a":`, 100_000),
	} {
		for _, target := range targets {
			p := target()
			if err := session.JSON.Unmarshal([]byte(data), p); err == nil {
				t.Errorf("%.40q: got %#v as %T, want an error", data, reflect.ValueOf(p).Elem(), p)
			}
		}
	}
	for data, p := range map[string]any{
		"999999999": new(int8), "-1": new(uint), "1.5": new(int), "1000000000000000000000": new(int),
		`"1"`: new(int), "1": new(string), "0": new(bool), "[]": new(string),
		"1e400": new(float64), `{"x":"y"}`: new(point), `["only one"]`: new(session.FlashMessage),
	} {
		if err := session.JSON.Unmarshal([]byte(data), p); err == nil {
			t.Errorf("%s: got %v as %T, want an error", data, p, p)
		}
	}
}

func TestJSONSplitAndJoin(t *testing.T) {
	t.Parallel()
	for document, want := range map[string]string{
		"":               "",
		"{}":             "",
		" \t\r\n{ \n } ": "",
		`{"a":1}`:        `a=1`,
		"{ \"a\" : [ 1 , 2 ] ,\t\"b\":\n{\"c\" : null} }": `a=[ 1 , 2 ] b={"c" : null}`,
		`{"a":"}","b":"\"","c":"\\"}`:                     `a="}" b="\"" c="\\"`,
		`{"a":{"a":{"a":[{}]}},"":""}`:                    `a={"a":{"a":[{}]}} =""`,
		`{"\u0061\n\"":1,"ä":2}`:                          "a\n\"=1 ä=2",
		`{"a":1,"a":2}`:                                   `a=1 a=2`,
		`{"a":true,"b":-1.5e+3,"c":null}`:                 `a=true b=-1.5e+3 c=null`,
		"{\"\xff\":1}":                                    "\ufffd=1",
	} {
		members, err := session.JSON.Split([]byte(document))
		var list []string
		for _, m := range members {
			list = append(list, m.Name+"="+string(m.Value))
		}
		if got := strings.Join(list, " "); err != nil || got != want {
			t.Errorf("%q: got %q, %v, want %q", document, got, err, want)
			continue
		}
		joined, err := session.JSON.Join(members)
		if err != nil || !json.Valid(joined) {
			t.Errorf("%q: got %q, %v, want a document", document, joined, err)
		}
	}
	for _, document := range []string{
		" ", "{", "}", "{}{}", "{}x", "[]", "null", "1", `"a"`, `{"a"}`, `{"a":}`, `{"a":1,}`, `{,"a":1}`,
		`{"a":1 "b":2}`, `{"a" 1}`, `{a:1}`, `{'a':1}`,
		`{"a:1}`, `{"a":"}`, `{"a":[}`, `{"a":[1}`, `{"a":1]`, `{"a":1`, `{"a":1,"b"`, `{"a":"\`, "{\"a\n\":1}",
		`{"\x":1}`, `{"\u12":1}`, "\ufeff{}", "{\x00}", "\x00", "{}\x00",
		"\x80\x04\x95", "\x1f\x8b", strings.Repeat("{", 1000), strings.Repeat(`{"a":`, 100_000),
		`{"a":` + strings.Repeat("[", 100_000) + "}",
	} {
		if members, err := session.JSON.Split([]byte(document)); err == nil {
			t.Errorf("%.40q: got %d members, want an error", document, len(members))
		}
	}
	if _, err := session.JSON.Join([]session.Member{{Name: "\xff", Value: []byte("1")}}); err == nil {
		t.Error("Join took a name that is not UTF-8")
	}
}

// A hostile document costs no more than its length: each of these has a million bytes.
func TestJSONLongDocuments(t *testing.T) {
	t.Parallel()
	for _, document := range []string{
		`{"a":` + strings.Repeat("[", 500_000) + strings.Repeat("]", 500_000) + "}",
		`{"a":"` + strings.Repeat(`\"`, 500_000) + `"}`,
		"{" + strings.Repeat(`"a":0,`, 166_666) + `"a":1}`,
		`{"a":1` + strings.Repeat(" ", 1_000_000) + "}",
		`{"` + strings.Repeat(`\u0061`, 166_666) + `":1}`,
	} {
		members, err := session.JSON.Split([]byte(document))
		if err != nil || len(members) == 0 || !bytes.Contains([]byte(document), members[len(members)-1].Value) {
			t.Errorf("%.20q: got %d members, %v", document, len(members), err)
		}
		var v any
		session.JSON.Unmarshal(members[0].Value, &v) // may refuse, must return
	}
}

// A document in the store in which a name is there twice: the last wins, as in Python and in encoding/json.
func TestDuplicateNames(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	cookie := b.cookie(t, setPlain)
	key := b.store.keys[0]
	plant := func(document string) {
		t.Helper()
		r, err := b.store.Store.Load(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		version := r.Version
		r.Data, r.Version = []byte(document), version%1000+1
		if err := b.store.Store.Replace(t.Context(), r, version); err != nil {
			t.Fatal(err)
		}
	}
	plant(`{"b":1,"a":1,"b":2,"\u0061":3,"c":[},"d":tru"e"}`)
	b.get(t, cookie, func(_ http.ResponseWriter, r *http.Request) {
		s := session.From(r)
		for name, want := range map[string]any{"a": int64(3), "b": int64(2)} {
			if v, _ := s.Get(name); v != want {
				t.Errorf("%s: got %v, want %v, the last", name, v, want)
			}
		}
		if _, ok := s.Get("c"); ok {
			t.Error("c: got a value, want none: it can't be decoded")
		}
		s.Set("e", 1)
	})
	r, err := b.store.Store.Load(t.Context(), key)
	if want := `{"a":3,"b":2,"c":[},"d":tru"e","e":1}`; err != nil || string(r.Data) != want {
		t.Errorf("got %s, %v, want %s", r.Data, err, want)
	}
}
