//lint:file-ignore SA5008 the tags are odd on purpose

package releases

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"hash/fnv"
	"log/slog"
	"maps"
	"math"
	"math/big"
	"math/rand/v2"
	"net"
	"net/netip"
	"net/url"
	"os"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unicode/utf8"
	"unsafe"

	"github.com/hipflask/session"
)

// What a session accepts, and how it is encoded, must not depend on the release of Go: encoding/json has a new core
// since Go 1.27. The files in testdata were recorded with Go 1.26 and must be met by every release.
var record = flag.Bool("record", false, "write testdata anew; only with Go 1.26")

func checkRecorded(t *testing.T, name, separator string, got []byte) {
	t.Helper()
	checkRecordedWith(t, name, separator, got, func(got, want string) bool { return got == want })
}

func checkRecordedWith(t *testing.T, name, separator string, got []byte, same func(got, want string) bool) {
	t.Helper()
	name = "testdata/" + name
	if *record && !strings.HasPrefix(runtime.Version(), "go1.26") {
		t.Fatalf("this is %s: the records are made by Go 1.26", runtime.Version())
	}
	if *record {
		if err := os.WriteFile(name, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	wants, gots := strings.Split(string(want), separator), strings.Split(string(got), separator)
	if len(gots) != len(wants) {
		t.Errorf("got %d entries, want the %d of %s", len(gots), len(wants), name)
	}
	for i := range min(len(gots), len(wants)) {
		if !same(gots[i], wants[i]) {
			t.Errorf("%s, entry %d: got\n%.3000s\nwant\n%.3000s", name, i+1, gots[i], wants[i])
		}
	}
}

type (
	text          string
	complaining   struct{}
	textKey       int // a kind of map keys that are encoded as text
	pointerKey    struct{ s string }
	stringKey     string
	jsonKey       int
	floatKey      float64
	namedByte     byte
	textByte      byte
	jsonByte      byte
	namedBytes    []byte
	sloppy        string // its JSON is itself
	sloppyText    string // its text is itself
	jsonPointer   struct{ s string }
	textPointer   struct{ s string }
	both          struct{}
	zeroer        struct{ n int }
	jsonFloat     float64
	jsonSlice     []int
	jsonMap       map[string]int
	ownPointer    *ownPointer
	hidden        map[float64]int
	hiddenPointer map[float64]int
	textTree      map[stringKey]textTree
)

func (complaining) MarshalJSON() ([]byte, error) {
	return nil, &json.UnsupportedValueError{Str: "planted-value"}
}

func (k textKey) MarshalText() ([]byte, error) {
	if k < 0 {
		return nil, errors.New("negative")
	}
	return fmt.Appendf(nil, "key %d", k%10), nil
}

func (k *textKey) UnmarshalText(b []byte) error {
	_, err := fmt.Sscanf(string(b), "key %d", (*int)(k))
	return err
}
func (k *pointerKey) MarshalText() ([]byte, error) { return []byte("pointer " + k.s), nil }
func (k stringKey) MarshalText() ([]byte, error)   { return []byte("text " + string(k)), nil }
func (k jsonKey) MarshalJSON() ([]byte, error)     { return fmt.Appendf(nil, `"json %d"`, k), nil }
func (b textByte) MarshalText() ([]byte, error)    { return fmt.Appendf(nil, "byte %d", b), nil }
func (b jsonByte) MarshalJSON() ([]byte, error)    { return fmt.Appendf(nil, "[%d]", b), nil }
func (s sloppy) MarshalJSON() ([]byte, error)      { return []byte(s), nil }
func (s *sloppy) UnmarshalJSON(b []byte) error     { *s = sloppy(b); return nil }
func (s sloppyText) MarshalText() ([]byte, error)  { return []byte(s), nil }
func (s *sloppyText) UnmarshalText(b []byte) error { *s = sloppyText(b); return nil }
func (p *jsonPointer) MarshalJSON() ([]byte, error) {
	if p == nil {
		return []byte(`"nil"`), nil
	}
	return json.Marshal("json " + p.s)
}

func (p *textPointer) MarshalText() ([]byte, error) {
	if p == nil {
		return []byte("nil"), nil
	}
	return []byte("text " + p.s), nil
}
func (both) MarshalJSON() ([]byte, error)           { return []byte(`"json"`), nil }
func (both) MarshalText() ([]byte, error)           { return []byte("text"), nil }
func (z zeroer) IsZero() bool                       { return z.n == 7 }
func (f jsonFloat) MarshalJSON() ([]byte, error)    { return fmt.Appendf(nil, "%g", float64(f)), nil }
func (s jsonSlice) MarshalJSON() ([]byte, error)    { return fmt.Appendf(nil, `"%d"`, len(s)), nil }
func (m jsonMap) MarshalJSON() ([]byte, error)      { return fmt.Appendf(nil, `"%d"`, len(m)), nil }
func (hidden) MarshalJSON() ([]byte, error)         { return []byte("1"), nil }
func (*hiddenPointer) MarshalJSON() ([]byte, error) { return []byte("1"), nil }

type (
	inner struct {
		A int
		B string `json:"b"`
	}
	Outer struct{ A, C int }
	point struct {
		X float64 `json:"x"`
		N *point  `json:"n,omitempty"`
	}
	empty    struct{}
	asString struct {
		I   int              `json:",string"`
		U8  uint8            `json:",string"`
		F   float64          `json:",string"`
		B   bool             `json:",string"`
		S   string           `json:",string"`
		N   json.Number      `json:",string"`
		PI  *int             `json:",string"`
		Nil *int             `json:",string"`
		PS  *string          `json:",string"`
		PP  **int            `json:",string"`
		Sl  []int            `json:",string"`
		M   map[string]int   `json:",string"`
		Any any              `json:",string"`
		St  inner            `json:",string"`
		T   textKey          `json:",string"`
		J   jsonFloat        `json:",string"`
		D   time.Duration    `json:",string"`
		R   json.RawMessage  `json:",string"`
		By  []byte           `json:",string"`
		F32 float32          `json:",string,omitempty"`
		Tm  time.Time        `json:",string"`
		PF  *float64         `json:",string"`
		Ar  [2]int           `json:",string"`
		Sp  sloppyText       `json:",string"`
		NN  map[int]*float64 `json:",string"`
	}
	omitting struct {
		B   bool           `json:",omitempty"`
		I   int            `json:",omitempty"`
		F   float64        `json:",omitempty"`
		S   string         `json:",omitempty"`
		P   *int           `json:",omitempty"`
		Any any            `json:",omitempty"`
		Sl  []int          `json:",omitempty"`
		M   map[string]int `json:",omitempty"`
		A0  [0]int         `json:",omitempty"`
		A1  [1]int         `json:",omitempty"`
		St  empty          `json:",omitempty"`
		T   time.Time      `json:",omitempty"`
		J   both           `json:",omitempty"`
		Js  jsonSlice      `json:",omitempty"`
		Tx  sloppyText     `json:",omitempty"`
		Pt  *textPointer   `json:",omitempty"`
	}
	zeroing struct {
		B   bool           `json:",omitzero"`
		I   int            `json:",omitzero"`
		F   float64        `json:",omitzero"`
		S   string         `json:",omitzero"`
		P   *int           `json:",omitzero"`
		Any any            `json:",omitzero"`
		Sl  []int          `json:",omitzero"`
		M   map[string]int `json:",omitzero"`
		A1  [1]int         `json:",omitzero"`
		St  empty          `json:",omitzero"`
		T   time.Time      `json:",omitzero"`
		Z   zeroer         `json:",omitzero"`
		PZ  *zeroer        `json:",omitzero"`
		Two []int          `json:",omitzero,omitempty"`
		Zs  zeroer         `json:",omitempty,omitzero"`
	}
	embedding struct {
		inner
		Outer
		*point
		C int
	}
	deepEmbedding struct {
		Outer
		A string `json:"A"`
	}
	embeddedName struct {
		Outer `json:"outer"`
		inner `json:"inner"`
	}
	tagWins struct {
		Same int
		Y    int `json:"Same"`
	}
	embeddedText struct {
		text
		Time time.Time
	}
	embeddedTime struct {
		time.Time
		N int
	}
	embeddedInterface struct {
		fmt.Stringer
		N int
	}
	embeddedPointer struct {
		*inner
		N int
	}
	EmbeddedRecursive struct {
		*EmbeddedRecursive
		N int
	}
	embeddedMap struct {
		url.Values
		N int
	}
	generic[T any] struct {
		V T `json:"v"`
	}
	private  struct{ a, b int }
	pointers struct {
		J  jsonPointer
		T  textPointer
		PJ *jsonPointer
		PT *textPointer
		NJ *jsonPointer
		NT *textPointer
		S  []jsonPointer
		A  [1]textPointer
		M  map[string]jsonPointer
	}
	withChannel struct {
		N int
		C chan int `json:"c"`
	}
	withNilFunc struct {
		F func() `json:",omitempty"`
	}
	faces struct {
		M json.Marshaler
		E error
		S fmt.Stringer
	}
	tree struct {
		Left, Right *tree
		Any         any
	}
	ofStrings struct {
		S string
		M map[string]string
		K map[string]int
	}
	numbersOf struct {
		I8  int8
		U64 uint64
		F64 float64
		F32 float32
		Up  uintptr
		N   json.Number
		D   time.Duration
	}
)

// oddTags is a struct type with tags that "go vet" would refuse, and with options that only encoding/json/v2 knows.
var oddTags = func() reflect.Type {
	var fields []reflect.StructField
	for name, field := range map[string]struct {
		sample any
		tag    string
	}{
		"Dash":      {0, `json:"-"`},
		"NamedDash": {0, `json:"-,"`},
		"Blanks":    {0, `json:"a name with blanks"`},
		"Quoted":    {0, `json:"'quoted'"`},
		"Comma":     {0, `json:"'a,b'"`},
		"Backquote": {0, "json:\"\\u0060\""},
		"Umlaut":    {0, `json:"ä"`},
		"Signs":     {0, `json:"!#$%&()*+-./:;<=>?@[]^_{|}~"`},
		"Unknown":   {map[string]any(nil), `json:",unknown"`},
		"Unknowns":  {map[string]int(nil), `json:",inline"`},
		"Inlined":   {inner{}, `json:",inline"`},
		"Spaced":    {0, `json:" spaced "`},
		"Option":    {0, `json:"option, omitempty"`},
		"Upper":     {0, `json:",OMITEMPTY"`},
		"Twice":     {0, `json:",omitempty,omitempty"`},
		"Case":      {0, `json:",case:ignore"`},
		"Strict":    {0, `json:",case:strict"`},
		"NoValue":   {0, `json:`},
		"Empty":     {0, `json:""`},
		"Single":    {0, `json:"single" json:"second"`},
		"Other":     {0, `yaml:"other"`},
		"Same":      {0, `json:"same"`},
		"SameAgain": {0, `json:"same"`},
	} {
		fields = append(fields, reflect.StructField{Name: name, Type: reflect.TypeOf(field.sample),
			Tag: reflect.StructTag(field.tag)})
	}
	slices.SortFunc(fields, func(a, b reflect.StructField) int { return strings.Compare(a.Name, b.Name) })
	return reflect.StructOf(fields)
}()

func withOddTags(set map[string]any) any {
	v := reflect.New(oddTags).Elem()
	for name, value := range set {
		v.FieldByName(name).Set(reflect.ValueOf(value))
	}
	return v.Interface()
}

// tagged is a struct of one field with a tag.
func tagged(value any, tag string) any {
	field := reflect.StructField{Name: "F", Type: reflect.TypeOf(value), Tag: reflect.StructTag(tag)}
	v := reflect.New(reflect.StructOf([]reflect.StructField{field})).Elem()
	v.Field(0).Set(reflect.ValueOf(value))
	return v.Interface()
}

type releaseCase struct {
	name  string
	value any
}

func marshalCases() []releaseCase {
	one, text1, half := 1, "one <&>", 0.5
	pone := &one
	var nilPoint *point
	var nilMarshaler *jsonPointer
	var nilText *textPointer
	loop := &tree{}
	loop.Left = loop
	selfAny := any(nil)
	selfAny = &selfAny
	var selfPointer ownPointer
	selfPointer = &selfPointer
	deep := &tree{}
	for range 400 {
		deep = &tree{Left: deep}
	}
	deeper := &tree{}
	for range 20_000 {
		deeper = &tree{Right: deeper}
	}
	anyDeep := any(1)
	for range 990 {
		anyDeep = []any{anyDeep}
	}
	longInt, _ := new(big.Int).SetString(strings.Repeat("9", 40), 10)
	berlin := time.FixedZone("CET", 3600)
	odd := time.FixedZone("LMT", 3600+17)
	u, _ := url.Parse("https://example.com/a?b=<c>&d")
	var counter atomic.Int64
	counter.Store(5)
	return []releaseCase{
		// Maps, with keys of every kind.
		{"map[bool]", map[bool]int{true: 1}}, {"map[int8]", map[int8]int{-1: 1, 10: 2, 9: 3}},
		{"map[int16]", map[int16]int{-1: 1}}, {"map[int32]", map[int32]int{-1: 1}},
		{"map[int64]", map[int64]int{math.MinInt64: 1, math.MaxInt64: 2}}, {"map[uint8]", map[uint8]int{255: 1}},
		{"map[uint16]", map[uint16]int{1: 1}},
		{"map[uint32]", map[uint32]int{1: 1}}, {"map[uint64]", map[uint64]int{math.MaxUint64: 1}},
		{"map[uint]", map[uint]float64{1: 1}}, {"map[uintptr]", map[uintptr]int{1: 1}},
		{"map[float32]", map[float32]int{1: 1}}, {"map[float64]", map[float64]int{1.5: 1}},
		{"map[float64] empty", map[float64]int{}}, {"map[float64] nil", map[float64]int(nil)},
		{"map[floatKey]", map[floatKey]int{1.5: 1}}, {"map[complex]", map[complex128]int{1: 1}},
		{"map[struct]", map[inner]int{{A: 1}: 1}}, {"map[struct] empty", map[inner]int{}},
		{"map[struct] nil", map[inner]int(nil)}, {"map[empty struct]", map[empty]int{{}: 1}},
		{"map[array]", map[[2]int]int{{1, 2}: 1}}, {"map[byte array]", map[[2]byte]int{{1, 2}: 1}},
		{"map[any] string", map[any]int{"a": 1}}, {"map[any] int", map[any]int{1: 1}},
		{"map[any] empty", map[any]int{}}, {"map[pointer]", map[*int]int{pone: 1}},
		{"map[chan]", map[chan int]int{nil: 1}}, {"map[unsafe]", map[unsafe.Pointer]int{nil: 1}},
		{"map[json.Number]", map[json.Number]int{"1": 1, "x": 2}}, {"map[time.Duration]", map[time.Duration]int{5: 1}},
		{"map[time.Month]", map[time.Month]int{5: 1}},
		{"map[time.Time]", map[time.Time]int{time.Unix(0, 0).UTC(): 1}}, {"map[textKey]", map[textKey]int{1: 1, 2: 2}},
		{"map[textKey] fails", map[textKey]int{-1: 1}},
		{"map[textKey] of a float", map[textKey]float64{1: 1}}, {"map[*pointerKey]", map[*pointerKey]int{{"a"}: 1}},
		{"map[pointerKey]", map[pointerKey]int{{"a"}: 1}},
		{"map[stringKey]", map[stringKey]int{"a": 1, "b": 2}},
		{"map[stringKey] of a float", map[stringKey]any{"a": 1.0}}, {"map[jsonKey]", map[jsonKey]int{1: 1}},
		{"map[*textPointer] nil", map[*textPointer]int{nil: 1}},
		{"map[Stringer]", map[fmt.Stringer]int{time.Second: 1}},
		{"map[TextMarshaler]", map[interface{ MarshalText() ([]byte, error) }]int{textKey(1): 1}},
		{"map[netip.Addr]", map[netip.Addr]int{netip.MustParseAddr("::1"): 1}},
		{"map[sloppyText] not UTF-8", map[sloppyText]int{"\xff": 1}}, {"map[sloppy]", map[sloppy]int{`"a"`: 1}},
		{"map[sloppyText] escapes", map[sloppyText]int{"a\"<>&\u2028\n": 1}}, {"map of a map by float",
			map[string]any{"a": map[float64]int{1: 1}}}, {"slice of a map by float", []any{map[float64]int{1: 1}}},
		{"struct of a map by float", generic[map[float64]int]{map[float64]int{1: 1}}},
		{"struct of an empty map by float", generic[map[float64]int]{map[float64]int{}}},
		{"struct of a nil map by float", generic[map[float64]int]{}}, {"pointer to a map by float",
			&map[float64]int{1: 1}}, {"any in a struct, a map by float", generic[any]{map[float32]int{1: 1}}},
		{"struct of a map by bool", generic[map[bool]int]{map[bool]int{true: 1}}},
		{"struct of a map by any", generic[map[any]int]{map[any]int{"a": 1}}},
		{"struct of a map by any float", generic[map[any]int]{map[any]int{1.5: 1}}},
		{"struct of a map by struct", generic[map[inner]int]{map[inner]int{{}: 1}}},
		{"struct of a map by pointer", generic[map[*int]int]{map[*int]int{pone: 1}}},
		{"struct of a map by *string", generic[map[*string]int]{map[*string]int{&text1: 1}}},
		{"struct of a map by array", generic[map[[1]string]int]{map[[1]string]int{{"a"}: 1}}},
		{"struct of a map by jsonKey", generic[map[jsonKey]int]{map[jsonKey]int{2: 1}}},
		{"struct of a map by jsonFloat", generic[map[jsonFloat]int]{map[jsonFloat]int{2: 1}}},
		{"struct of a map by []byte array", generic[map[[2]byte]int]{map[[2]byte]int{{1, 2}: 1}}},
		{"array of maps by float", [1]map[float64]int{{1: 1}}},
		{"map by int of maps by float", map[int]map[float64]int{1: {1: 1}}},
		{"struct of a map by stringKey", generic[map[stringKey]int]{map[stringKey]int{"a": 1, "b": 2}}},
		{"struct of a map by time", generic[map[time.Time]int]{map[time.Time]int{time.Unix(1, 0).UTC(): 1}}},
		{"struct of a map by text", generic[map[text]int]{map[text]int{"\xff": 1}}},
		{"struct of a map, same key twice", generic[map[textKey]int]{map[textKey]int{1: 1, 11: 1}}},
		{"tree of text keys", textTree{"a": {"b": nil, "c": {}}}},
		{"map by int order", map[int]int{-2: 1, 10: 2, 9: 3, 0: 4}},

		// Structs and their tags.
		{"odd tags", withOddTags(map[string]any{"Unknowns": map[string]int{"u": 1}, "Unknown": map[string]any{"k": 1.0},
			"Inlined": inner{1, "b"}})}, {"odd tags nil", withOddTags(nil)},
		{"tag with a quote", tagged(1, "json:\"a\\\"b\"")}, {"tag with a backslash", tagged(1, "json:\"a\\\\b\"")},
		{"tag not UTF-8", tagged(1, "json:\"\xff\"")}, {"tag embed, map",
			tagged(map[string]int{"a": 1}, `json:",embed"`)}, {"tag embed, struct", tagged(inner{}, `json:",embed"`)},
		{"tag embed, raw", tagged(json.RawMessage("{}"), `json:",embed"`)},
		{"tag unknown, raw", tagged(json.RawMessage("{}"), `json:",unknown"`)}, {"tag format hex", tagged([]byte("a"),
			`json:",format:hex"`)}, {"tag format array", tagged([2]byte{1}, `json:",format:array"`)},
		{"tag format time", tagged(time.Time{}, `json:",format:RFC1123"`)},
		{"tag format nil", tagged([]int(nil), `json:",format:emitempty"`)}, {"tag format duration",
			tagged(time.Second, `json:",format:units"`)}, {"tag of another option", tagged(1, `json:",other,string"`)},
		{"within a pointer", &struct{ P *any }{}}, {"tag with a quote within", []any{tagged(1, "json:\"a\\\"b\"")}},
		{"ignored map by float", struct {
			M map[float64]int `json:"-"`
			m map[float64]int
		}{map[float64]int{1: 1}, nil}}, {"omitted map by float", struct {
			M map[float64]int `json:",omitempty"`
			N map[float64]int `json:",omitzero"`
		}{map[float64]int{}, nil}}, {"not omitted map by float", struct {
			N map[float64]int `json:",omitzero"`
		}{map[float64]int{}}}, {"marshaler of a map by float", generic[hidden]{hidden{1: 1}}},
		{"pointer marshaler of a map by float", generic[hiddenPointer]{}},
		{"pointer marshaler of a map by float, addressable", &generic[hiddenPointer]{}},
		{"empty struct", empty{}}, {"private", private{1, 2}}, {"pointer to private", &private{1, 2}},
		{"string option", asString{S: text1, N: "5", PI: pone, PS: &text1, PP: &pone, Sl: []int{1}, Any: 1,
			T: 3, J: 1.5, R: json.RawMessage("1"), By: []byte("a"), F: 1e21, D: 5, PF: &half, Sp: "5"}},
		{"string option zero", asString{}},
		{"string option bad number", asString{N: "x"}}, {"string option float32",
			asString{N: "1", F32: 1e-7, F: math.MaxFloat64}}, {"string option quotes", asString{N: "1e5", S: "a\"b"}},
		{"omitempty", omitting{}},
		{"omitempty full", omitting{true, 1, 1, "a", pone, 0, []int{0}, map[string]int{"": 0}, [0]int{},
			[1]int{}, empty{}, time.Unix(0, 0).UTC(), both{}, jsonSlice{1}, "t", &textPointer{}}},
		{"omitempty empties", omitting{Sl: []int{}, M: map[string]int{}, Js: jsonSlice{}, Any: (*int)(nil),
			F: math.Copysign(0, -1)}}, {"omitzero", zeroing{}}, {"omitzero full",
			zeroing{Sl: []int{}, M: map[string]int{}, Z: zeroer{7}, PZ: &zeroer{7}, Two: []int{}, Zs: zeroer{7}}},
		{"omitzero nonzero", zeroing{Any: 0, Z: zeroer{1}, PZ: nil, F: math.Copysign(0, -1),
			T: time.Time{}.In(berlin)}},
		{"embedding", embedding{inner: inner{1, "b"}, Outer: Outer{2, 3}, C: 4}},
		{"embedding a pointer", embedding{point: &point{X: 1}}}, {"deep embedding", deepEmbedding{Outer{1, 2}, "a"}},
		{"embedded with names", embeddedName{}},
		{"a tag wins", tagWins{1, 2}}, {"embedded text", embeddedText{text: "a"}},
		{"embedded time", embeddedTime{time.Unix(0, 0).UTC(), 1}}, {"embedded interface", embeddedInterface{}},
		{"embedded interface set", embeddedInterface{time.Second, 1}}, {"embedded nil pointer", embeddedPointer{N: 1}},
		{"embedded pointer", embeddedPointer{&inner{1, "b"}, 2}}, {"embedded recursive", EmbeddedRecursive{N: 1}},
		{"embedded recursive set", EmbeddedRecursive{&EmbeddedRecursive{N: 2}, 1}},
		{"embedded map", embeddedMap{url.Values{"a": {"b"}}, 1}}, {"generic", generic[generic[int]]{}},
		{"anonymous", struct {
			A int
			B string `json:"b,omitempty"`
		}{1, ""}},
		{"faces", faces{}}, {"faces of nil pointers", faces{M: nilMarshaler}}, {"channel nil", withChannel{}},
		{"channel", withChannel{C: make(chan int)}}, {"nil func omitted", withNilFunc{}},
		{"func", withNilFunc{F: func() {}}},
		{"faces of values", faces{jsonPointerOf("a"), errors.New("e"), time.Second}},
		{"mutex", struct{ atomic.Bool }{}}, {"counter", &counter},

		// Marshalers.
		{"sloppy spaces", sloppy(" { \"a\" : [ 1 , 2 ] }\n")}, {"sloppy html", sloppy(`"<b>&\u003c\u2028"`)},
		{"sloppy separators", sloppy("\"\u2028\u2029\"")}, {"sloppy duplicate", sloppy(`{"a":1,"a":2}`)},
		{"sloppy not UTF-8", sloppy("\"\xff\"")}, {"sloppy name not UTF-8", sloppy("{\"\xff\":1}")},
		{"sloppy half surrogate", sloppy(`"\ud800"`)}, {"sloppy surrogates", sloppy(`"\ud83d\ude00\u00e4\/\b"`)},
		{"sloppy empty", sloppy("")}, {"sloppy space", sloppy(" ")},
		{"sloppy null", sloppy("null")}, {"sloppy two", sloppy("1 2")}, {"sloppy comma", sloppy("[1,]")},
		{"sloppy comment", sloppy("/**/1")}, {"sloppy number", sloppy("01")}, {"sloppy minus zero", sloppy("-0")},
		{"sloppy exponent", sloppy("1E+5")}, {"sloppy large", sloppy("1e999")}, {"sloppy control", sloppy("\"\x01\"")},
		{"sloppy quotes", sloppy("'a'")}, {"sloppy BOM", sloppy("\ufeff1")},
		{"sloppy upper escape", sloppy(`"\u00AB"`)}, {"sloppy NUL", sloppy("1\x00")},
		{"sloppy deep", sloppy(strings.Repeat("[", 9_999) + strings.Repeat("]", 9_999))},
		{"sloppy deeper", sloppy(strings.Repeat("[", 10_001) + strings.Repeat("]", 10_001))},
		{"sloppy deepest", sloppy(strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000))},
		{"sloppy deep in a struct", generic[sloppy]{sloppy(strings.Repeat("[", 9_999) + strings.Repeat("]", 9_999))}},
		{"sloppy deeper in a struct",
			generic[sloppy]{sloppy(strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000))}},
		{"sloppy in a struct", generic[sloppy]{" [ 1 ] "}},
		{"sloppy duplicate in a struct", generic[sloppy]{`{"a":1,"a":1}`}},
		{"sloppy not UTF-8 in a struct", generic[sloppy]{"\"\xff\""}}, {"sloppy in a slice", []sloppy{"1 ", " 2"}},
		{"sloppy empty in a struct", generic[sloppy]{}}, {"sloppy in a map", map[string]sloppy{"a": "{ }"}},
		{"text", sloppyText("a<b>\"\n")}, {"text not UTF-8", sloppyText("\xff")},
		{"text in a struct", generic[sloppyText]{"\u2028<"}},
		{"text not UTF-8 in a struct", generic[sloppyText]{"a\xffb"}}, {"texts", []sloppyText{"", "a"}},
		{"json pointer by value", jsonPointer{"a"}}, {"json pointer", &jsonPointer{"a"}},
		{"text pointer by value", textPointer{"a"}}, {"text pointer", &textPointer{"a"}},
		{"nil json pointer", nilMarshaler}, {"nil text pointer", nilText},
		{"slice of json pointers by value", []jsonPointer{{"a"}}},
		{"array of text pointers by value", [1]textPointer{{"a"}}},
		{"pointers by value", pointers{S: []jsonPointer{{}}, M: map[string]jsonPointer{"": {}}}},
		{"pointers", &pointers{PJ: &jsonPointer{"a"}, PT: &textPointer{"b"}, S: []jsonPointer{{}},
			M: map[string]jsonPointer{"": {}}}}, {"slice of nil json pointers", []*jsonPointer{nil, {"a"}}},
		{"map of nil text pointers", map[string]*textPointer{"a": nil}},
		{"both", both{}}, {"both as key", map[both]int{{}: 1}}, {"json float", jsonFloat(1)},
		{"json floats", []jsonFloat{1, 2}}, {"json slice", jsonSlice{1}}, {"json slice nil", jsonSlice(nil)},
		{"json map", jsonMap{"a": 1}}, {"json map nil", jsonMap(nil)}, {"json slice in a struct", generic[jsonSlice]{}},
		{"complaining in a struct", generic[complaining]{}}, {"complaining in a slice", []complaining{{}}},
		{"text marshaler fails", textKey(-1)}, {"text marshaler fails in a struct", generic[textKey]{-1}},

		// Raw messages and numbers.
		{"raw", json.RawMessage(` {"b" : 1 , "a":2 } `)}, {"raw nil", json.RawMessage(nil)},
		{"raw empty", json.RawMessage{}}, {"raw pointer", &json.RawMessage{'1', ' '}}, {"raw in a struct",
			generic[json.RawMessage]{json.RawMessage(` [ 1 ] `)}}, {"raw nil in a struct", generic[json.RawMessage]{}},
		{"raw empty in a struct", generic[json.RawMessage]{json.RawMessage{}}},
		{"raw pointer in a struct", generic[*json.RawMessage]{}},
		{"raw bad", generic[json.RawMessage]{json.RawMessage("{")}}, {"raw duplicate",
			json.RawMessage(`{"a":1,"a":2}`)}, {"raw html", generic[json.RawMessage]{json.RawMessage(`"<\u003c>"`)}},
		{"raw not UTF-8", json.RawMessage("\"\xff\"")}, {"raw slice", []json.RawMessage{json.RawMessage("1 "), nil}},
		{"raw map", map[string]json.RawMessage{"a": json.RawMessage("{ }")}}, {"raw escapes",
			json.RawMessage(`"\u0041\/\ud800"`)}, {"raw in any", map[string]any{"a": json.RawMessage(` 1.0 `)}},
		{"number empty", json.Number("")}, {"number int", json.Number("1")}, {"number minus zero", json.Number("-0")},
		{"number float", json.Number("1.50")}, {"number exponent", json.Number("1E5")},
		{"number blank", json.Number(" 1")}, {"number hex", json.Number("0x1")}, {"number plus", json.Number("+1")},
		{"number zeros", json.Number("01")},
		{"number text", json.Number(`"1"`)}, {"number long", json.Number(strings.Repeat("1", 400))},
		{"number null", json.Number("null")}, {"number NaN", json.Number("NaN")},
		{"number in a struct", generic[json.Number]{"1.0"}}, {"number empty in a struct", generic[json.Number]{}},
		{"number bad in a struct", generic[json.Number]{"1.0."}},
		{"numbers", []json.Number{"1", "2.0", ""}}, {"number map", map[string]json.Number{"a": "1e1"}},
		{"big int", longInt}, {"big int by value", *longInt}, {"big float", big.NewFloat(1.5)}, {"big rat",
			big.NewRat(1, 3)}, {"big int in a struct", generic[*big.Int]{longInt}}, {"nil big int", (*big.Int)(nil)},

		// Numbers.
		{"float32", generic[float32]{1e21}}, {"float32 small", generic[float32]{1e-7}},
		{"float64", generic[float64]{1e21}}, {"float64 below", generic[float64]{999999999999999999999}},
		{"float64 small", generic[float64]{1e-7}}, {"float64 not small", generic[float64]{1e-6}},
		{"float64 one digit exponent", generic[float64]{1e-9}},
		{"float64 integer", generic[float64]{2}}, {"float64 minus zero", generic[float64]{math.Copysign(0, -1)}},
		{"float64 max", generic[float64]{math.MaxFloat64}},
		{"float64 least", generic[float64]{math.SmallestNonzeroFloat64}},
		{"float64 infinity", generic[float64]{math.Inf(1)}}, {"float32 max", generic[float32]{math.MaxFloat32}},
		{"float32 NaN", generic[float32]{float32(math.NaN())}},
		{"floats in an interface of a struct", generic[any]{[]any{1.0, float32(2.5), 3}}},
		{"pointer to a float", &half}, {"pointer to a pointer", &pone},
		{"numbers of", numbersOf{math.MinInt8, math.MaxUint64, 0.1, 0.1, 7, "1", time.Second}},
		{"complex in a struct", generic[complex64]{}}, {"uintptr", uintptr(5)}, {"unsafe pointer", unsafe.Pointer(nil)},
		{"large ints", []any{int64(math.MaxInt64), uint64(math.MaxUint64), int64(math.MinInt64)}},
		{"level", slog.LevelWarn}, {"month", time.May},

		// Bytes.
		{"bytes", []byte("a\xff")}, {"bytes nil", []byte(nil)}, {"bytes empty", []byte{}},
		{"bytes in a struct", generic[[]byte]{[]byte{0xfb, 0xff}}}, {"bytes nil in a struct", generic[[]byte]{}},
		{"bytes pointer", generic[*[]byte]{&[]byte{1}}}, {"named bytes", namedBytes("a")},
		{"named bytes in a struct", generic[namedBytes]{namedBytes("a")}},
		{"slice of named bytes", []namedByte{1, 2}},
		{"slice of named bytes in a struct", generic[[]namedByte]{[]namedByte{1}}},
		{"slice of text bytes", []textByte{1}}, {"slice of text bytes in a struct", generic[[]textByte]{[]textByte{1}}},
		{"slice of json bytes in a struct", generic[[]jsonByte]{[]jsonByte{1}}}, {"slice of json bytes", []jsonByte{1}},
		{"byte array", [3]byte{1, 2, 255}}, {"byte array in a struct", generic[[2]byte]{[2]byte{1, 2}}},
		{"byte array empty", [0]byte{}}, {"named byte array in a struct", generic[[1]namedByte]{[1]namedByte{5}}},
		{"pointer to a byte array", &[2]byte{1}}, {"bytes in a map", map[string][]byte{"a": []byte("a"), "b": nil}},
		{"slices of bytes", [][]byte{[]byte("a"), nil}},
		{"text byte array", generic[[1]textByte]{[1]textByte{1}}}, {"slice of int8", []int8{1}}, {"byte array map",
			map[string][2]byte{"a": {1, 2}}}, {"long bytes", generic[[]byte]{bytes.Repeat([]byte{0xab}, 1000)}},

		// Times, and other types of the standard library.
		{"time", time.Unix(1, 5).UTC()}, {"time in a zone", time.Unix(1, 0).In(berlin)},
		{"time with odd seconds", time.Unix(1, 0).In(odd)}, {"time zero", time.Time{}},
		{"time of the year 9999", time.Date(9999, 12, 31, 23, 59, 59, 999999999, time.UTC)},
		{"time of the year 10000", time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)},
		{"time of the year -1", time.Date(-1, 1, 1, 0, 0, 0, 0, time.UTC)},
		{"time of the year 0", time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC)},
		{"time of the year 10000 in a struct", generic[time.Time]{time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)}},
		{"time with odd seconds in a struct", generic[time.Time]{time.Unix(1, 0).In(odd)}},
		{"time 24 hours off", time.Unix(1, 0).In(time.FixedZone("far", 24*3600))}, {"time pointer", &time.Time{}},
		{"time nil", (*time.Time)(nil)}, {"times", map[string]time.Time{"a": {}}},
		{"time in a struct", generic[time.Time]{time.Date(2026, 1, 2, 3, 4, 5, 600, berlin)}},
		{"duration", generic[time.Duration]{time.Second}}, {"durations", []time.Duration{1}},
		{"duration pointer", generic[*time.Duration]{}}, {"duration map",
			generic[map[string]time.Duration]{map[string]time.Duration{"a": 1}}}, {"duration string", struct {
			D time.Duration `json:",string"`
		}{5}}, {"location", time.UTC},
		{"netip", netip.MustParseAddr("::1")}, {"netip zero", netip.Addr{}}, {"net.IP", net.IPv4(1, 2, 3, 4)},
		{"net.IP bad", net.IP{1}}, {"net.IP in a struct", generic[net.IP]{}},
		{"net.IPNet", net.IPNet{IP: net.IPv4(1, 0, 0, 0), Mask: net.CIDRMask(8, 32)}}, {"url", u}, {"url by value", *u},
		{"sql", sql.NullString{String: "a", Valid: true}},
		{"sql time", sql.NullTime{}}, {"error", errors.New("text")},
		{"error in a struct", generic[error]{errors.New("text")}}, {"reflect", reflect.ValueOf(1)}, {"type",
			reflect.TypeFor[int]()}, {"attribute", slog.Int("a", 1)}, {"syntax error", &json.SyntaxError{Offset: 5}},

		// Text.
		{"html in a struct", generic[string]{"<a>&'\""}},
		{"separators in a struct", generic[string]{"\u2028\u2029\u0085\ufeff"}},
		{"controls in a struct", generic[string]{"\x00\x01\b\f\n\r\t\x1f\x7f\u0080"}}, {"not UTF-8 in a struct",
			generic[string]{"a\xffb\xc3"}}, {"half a surrogate in a struct", generic[string]{"\xed\xa0\x80"}},
		{"not UTF-8 in a name", ofStrings{M: map[string]string{"\xff": "\xfe"}}},
		{"two names alike", ofStrings{M: map[string]string{"\xff": "1", "\xfe": "2", "\ufffd": "3"}}},
		{"overlong", generic[string]{"\xc0\x80"}}, {"beyond", generic[string]{"\xf4\x90\x80\x80"}}, {"controls",
			"\x00\x01\b\f\n\r\t\x1f\x7f\u0080"}, {"controls in a name", map[string]int{"\b\f\n\x1f<&>": 1}},
		{"names in a struct", ofStrings{K: map[string]int{"<": 1, "\u2028": 2, "ä": 3, "Z": 4, "a": 5, "": 6}}},
		{"astral names in order", ofStrings{K: map[string]int{"\U0001F600": 1, "\uffff": 2}}},
		{"noncharacter", generic[string]{"\ufffe\U0010ffff"}},

		// Nesting, nothing, and what has no form.
		{"nil pointer", nilPoint}, {"nil in any", []any{nilPoint, nilMarshaler, nil}},
		{"nil slice in a struct", generic[[]int]{}}, {"nil map in a struct", generic[map[string]int]{}},
		{"nil any in a struct", generic[any]{}}, {"empty slice in a struct", generic[[]int]{[]int{}}},
		{"array of arrays", [2][2]int{{1}}}, {"empty array", [0]int{}},
		{"loop", loop}, {"any of itself", selfAny}, {"pointer of itself", selfPointer},
		{"any of itself in a struct", generic[any]{selfAny}}, {"any of itself in a slice", []*any{&selfAny}},
		{"deep struct", deep}, {"deeper struct", deeper}, {"deep slices", anyDeep},
		{"deep slices in a struct", generic[any]{anyDeep}},
		{"struct in slices", []any{map[string]any{"a": tree{Any: []any{tree{}}}}}},
		{"pointer to any", func() any { v := any(1.0); return &v }()},
		{"func in a map", map[string]any{"a": func() {}}}, {"nil func", (func())(nil)}, {"nil chan", (chan int)(nil)},
		{"func in a slice of a struct", generic[[]any]{[]any{func() {}}}}, {"iterator", func(func(int) bool) {}},
	}
}

func jsonPointerOf(s string) *jsonPointer { return &jsonPointer{s} }

func TestMarshalInAllReleases(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	names := map[string]bool{}
	for _, c := range marshalCases() {
		if names[c.name] {
			t.Errorf("two cases %q", c.name)
		}
		names[c.name] = true
		data, err := session.JSON.Marshal(c.value)
		fmt.Fprintf(&b, "%s: %s\n\n", c.name, resultLine(data, err))
	}
	checkRecorded(t, "marshal.txt", "\n\n", b.Bytes())
}

// resultLine is a line of text with what came out of an encoder: short, and in ASCII.
func resultLine(data []byte, err error) string {
	switch {
	case err != nil:
		return "refused"
	case len(data) > 1000:
		return fmt.Sprintf("%d bytes, hash %x", len(data), hash(data))
	case !utf8.Valid(data) || bytes.ContainsAny(data, "\n\r"):
		return fmt.Sprintf("%q, quoted", data)
	}
	return string(data)
}

func hash(data []byte) uint32 {
	h := fnv.New32a()
	h.Write(data)
	return h.Sum32()
}

// target is a type that JSON is decoded into.
type target struct {
	name string
	new  func() any
}

func into[T any]() target {
	name := reflect.TypeFor[T]().String()
	// its name since Go 1.27
	name = strings.ReplaceAll(name, "encoding/json/jsontext.Value", "encoding/json.RawMessage")
	name = strings.ReplaceAll(name, "jsontext.Value", "json.RawMessage")
	return target{name, func() any { return new(T) }}
}

var targets = []target{
	into[any](), into[string](), into[bool](), into[int](), into[int8](), into[uint64](), into[float64](),
	into[float32](), into[json.Number](), into[json.RawMessage](), into[[]any](), into[[]int](), into[[2]int](),
	into[[]byte](), into[[2]byte](), into[map[string]any](), into[map[string]int](), into[map[int]string](),
	into[map[float64]int](), into[map[bool]int](), into[map[textKey]int](), into[map[stringKey]int](),
	into[map[any]int](),
	into[time.Time](), into[time.Duration](), into[*int](), into[point](), into[asString](), into[embedding](),
	into[embeddedPointer](), into[deepEmbedding](), into[sloppy](), into[sloppyText](), into[text](), into[[]sloppy](),
	into[session.FlashMessage](), into[fmt.Stringer](), into[netip.Addr](), into[big.Int](), into[[]*point](),
	into[empty](), into[private](), into[[]namedByte](), into[generic[map[string]json.RawMessage]](),
	into[generic[any]](),
	into[uint8](), into[tree](), into[EmbeddedRecursive](), into[struct{ C chan int }](), into[func()](),
	into[complex128](), into[[0]int](), into[sql.NullString](),
	{"oddTags", func() any { return reflect.New(oddTags).Interface() }},
}

var unmarshalTexts = []string{
	"", " ", "null", " null ", "nul", "NULL", "true", "false", "True", "0", "-0", "1", " 1", "1 ", "\t1\r\n",
	"-1", "+1", "01", "1.", ".5", "1.5", "1.0", "1e2", "1E+2", "1e400", "1e-400", "-", "--1", "127",
	"128", "255", "256", "9223372036854775807", "9223372036854775808",
	"18446744073709551615", "18446744073709551616", "1e19", "123456789", "1234567890", "0.1", "3.5e38",
	"340282356779733661637539395458142568448", "NaN", "Infinity", "0x10", "1_0", "1 2", "1,2", "/**/1",
	"1//", "\ufeff1", "1\x00", "\x001",
	`""`, `"a"`, `"1"`, `"-0"`, `"1.5"`, `"null"`, `"true"`, `"\"a\""`, `"ä"`, `"\u00e4"`, `"\u00E4\ud83d\ude00"`,
	`"\ud800"`, `"\udc00"`, `"\ud800\ud800"`, `"\ud800\u0041"`, "\"\xff\"", "\"\xed\xa0\x80\"", "\"a\x01\"", "\"a\nb\"",
	"\"\x7f\u2028\"", `"\/\b\f\n\r\t\\"`, `"\a"`, `"\u12"`, `"\u12g4"`, `"a`, `a"`, `"a"b`, `'a'`,
	`"YQ=="`, `"YQ"`, `"YQ=="x`, `"YQ\n=="`, `"Y Q=="`, `"Y\r\nQ=="`, `"_-8="`, `"+/8="`, `"+/8"`, `"YR=="`,
	`"2006-01-02T15:04:05Z"`, `"2006-01-02T15:04:05.5+01:00"`, `"2006-01-02T15:04:05,5Z"`, `"2006-01-02T5:04:05Z"`,
	`"2006-01-02T15:04:05+24:00"`, `"2006-01-02t15:04:05z"`, `"2006-01-02 15:04:05Z"`, `"2006-02-30T15:04:05Z"`, `"1s"`,
	`"::1"`, `"key 5"`,
	"[]", "[ ]", "[1]", "[1,2]", "[1,2,3]", "[1,2,]", "[,1]", "[1 2]", "[1}", "[", "]", "[null]", `["a"]`, `["a","b"]`,
	"[[1]]", "[1.5]", "[256,1]", "[-1]", `["YQ=="]`, "[{}]", `[{"x":1},null]`, "[1]]", "[ 1 , 2 ] ",
	"{}", "{ }", "{", "}", `{"a":1}`, `{"a":1,"a":2}`, `{"a":{"b":1},"a":{"c":2}}`, `{"A":1,"a":2}`,
	`{"X":1}`, `{"x":1,"X":2}`, `{"X":1,"x":2}`, `{"x":null}`, `{"x":1,"n":{"x":2,"n":null}}`, `{"n":{},"n":{"x":1}}`,
	`{"x":"1"}`, `{"x":1,"y":}`, `{"a":1,}`, `{a:1}`, `{"a" 1}`, `{"a":1 "b":2}`, `{"a":1]`, `{1:1}`,
	`{"":1}`, `{"\u0061":1}`,
	`{"1":"a"}`, `{"01":"a"}`, `{"1.5":1}`, `{"true":1}`, `{"key 5":1}`, `{"text a":1}`, `{"1":"a","1":"b"}`,
	`{"1e0":"a"}`, `{" 1":"a"}`, `{"9223372036854775808":"a"}`, "{\"\xff\":1}", `{"\ud800":1}`, `{"null":1}`,
	`{null:1}`,
	`{"I":"1","U8":"2","F":"1.5","B":"true","S":"\"a\"","N":"5","PI":"7","PS":"\"b\""}`, `{"I":1}`, `{"I":"x"}`,
	`{"I":""}`, `{"I":" 1"}`, `{"I":"1 "}`, `{"I":null}`, `{"I":"null"}`, `{"PI":"null"}`, `{"PI":null}`,
	`{"B":"1"}`, `{"B":true}`, `{"S":"a"}`, `{"S":"\"a\"b"}`, `{"S":"null"}`, `{"S":null}`, `{"N":"x"}`,
	`{"N":5}`, `{"F":"1e400"}`, `{"F":"NaN"}`, `{"U8":"256"}`, `{"U8":"-1"}`, `{"I":"1.0"}`, `{"I":"01"}`,
	`{"D":"5"}`, `{"D":5}`, `{"Any":"1"}`, `{"Sl":"[1]"}`, `{"Sl":[1]}`, `{"F32":"1e39"}`,
	`{"Dash":1,"-":2,"a name with blanks":3,"'quoted'":4,"ä":5,"private":6,"Private":7,` +
		`"single":8,"NoValue":9,"Empty":10,"Unknowns":{"a":1},"Embed":{"b":2},"zzz":1,"spaced":3,` +
		`"quoted":4,"a,b":5,"'a,b'":6,"option":7,"Case":8,"CASE":9,"Strict":10}`,
	`{"A":1,"b":"x","C":3,"x":1.5}`, `{"a":1,"B":"x","c":3,"X":1.5}`, `{"A":"s","C":1}`, `{"same":5,"Z":6}`,
	`{"N":1}`, `{"N":1,"A":2}`, `{"n":1}`, `{"V":{"a":[ 1 ]}}`, `{"v":{"a": {"b" : 1 , "b":2}}}`, `{"v":null}`,
	`{"v":[1,2.0,"x",null,{"y":1e3}]}`, `{"Left":{"Left":null,"Any":[1]},"Right":{}}`, `{"C":null}`,
	`{"C":1}`, `{"String":"a","Valid":true}`,
	`{"x_":1,"_x":2,"ſ":3}`, `{"ſame":1,"SAME":2}`, `{"String":null}`, `{"string":"a"}`, `{"Str_ing":"a"}`, `{"K":1}`,
	strings.Repeat("[", 9_999) + strings.Repeat("]", 9_999), strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000),
	strings.Repeat("[", 10_001) + strings.Repeat("]", 10_001), strings.Repeat(`{"Left":`, 9_999) + "null" +
		strings.Repeat("}", 9_999), strings.Repeat(`{"Left":`, 10_001) + "null" + strings.Repeat("}", 10_001),
	strings.Repeat(`{"x":`, 10_001) + "1" + strings.Repeat("}", 10_001), `"` + strings.Repeat("a", 100_000) + `"`,
	strings.Repeat(" ", 100_000) + "1", strings.Repeat("1", 100_000),
}

// unmarshalled is what becomes of text in the target.
func unmarshalled(text string, target any) string {
	if err := session.JSON.Unmarshal([]byte(text), target); err != nil {
		return "refused"
	}
	switch v := target.(type) {
	case *any:
		return resultLine(fmt.Appendf(nil, "%#v", *v), nil)
	case *[]any:
		return resultLine(fmt.Appendf(nil, "%#v", *v), nil)
	case *map[string]any:
		return resultLine(fmt.Appendf(nil, "%#v", *v), nil)
	case *sloppy:
		return resultLine(fmt.Appendf(nil, "%q", string(*v)), nil)
	case *map[float64]int, *map[bool]int, *map[any]int, *struct{ C chan int }, *complex128, *func():
		return resultLine(fmt.Appendf(nil, "%v", reflect.ValueOf(v).Elem()), nil)
	}
	data, err := session.JSON.Marshal(reflect.ValueOf(target).Elem().Interface())
	return resultLine(data, err)
}

func TestUnmarshalInAllReleases(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	for _, text := range unmarshalTexts {
		fmt.Fprintf(&b, "%.200q\n", text)
		results := map[string][]string{}
		for _, target := range targets {
			got := unmarshalled(text, target.new())
			results[got] = append(results[got], target.name)
		}
		delete(results, "refused")
		for _, result := range slices.Sorted(maps.Keys(results)) {
			fmt.Fprintf(&b, "\t%s <- %s\n", result, strings.Join(results[result], ", "))
		}
		b.WriteByte('\n')
	}
	checkRecorded(t, "unmarshal.txt", "\n\n", b.Bytes())
}

// TestGeneratedInAllReleases does the same with texts that are put together at random, always the same.
func TestGeneratedInAllReleases(t *testing.T) {
	t.Parallel()
	random := rand.NewChaCha8([32]byte{})
	below := func(n int) int { return int(random.Uint64() % uint64(n)) }
	var seeds []string
	for _, text := range unmarshalTexts {
		if len(text) < 300 {
			seeds = append(seeds, text)
		}
	}
	var b bytes.Buffer
	for range *texts {
		text := generated(seeds, below)
		var results strings.Builder
		for _, target := range targets {
			results.WriteString(unmarshalled(text, target.new()) + "\n")
		}
		fmt.Fprintf(&b, "%08x %08x\n", hash([]byte(text)), hash([]byte(results.String())))
		if *verbose {
			fmt.Fprintf(&b, "%q\n%s\n", text, results.String())
		}
	}
	if *verbose {
		os.Stdout.Write(b.Bytes())
		return
	}
	checkRecorded(t, "generated.txt", "\n", b.Bytes())
}

var (
	texts   = flag.Int("texts", 1000, "how many texts to generate; other numbers than 1000 need -generated")
	verbose = flag.Bool("generated", false, "print all generated texts with their results: to compare "+
		"two releases by diff")
)

// generated puts a text together from others.
func generated(seeds []string, below func(int) int) string {
	text := seeds[below(len(seeds))]
	for range 1 + below(4) {
		i := below(len(text) + 1)
		j := i + below(len(text)-i+1)
		other := seeds[below(len(seeds))]
		switch below(6) {
		case 0:
			text = text[:i] + text[j:]
		case 1:
			text = text[:i] + other + text[j:]
		case 2:
			text = text[:i] + string([]byte{byte(below(256))}) + text[i:]
		case 3:
			text = `{"v":` + text + `,"x":` + other + "}"
		case 4:
			text = "[" + text + "," + other + "]"
		case 5:
			text = text[:j] + text[i:]
		}
	}
	return text
}
