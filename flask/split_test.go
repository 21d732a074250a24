package flask

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/hipflask/session"
)

// splitTwice is Split by way of values: for documents in which Unmarshal can read everything.
func splitTwice(s *taggedJSON, document []byte) (members []session.Member, known bool) {
	p := parser{data: document, tags: s.tags}
	if p.check() != nil {
		return nil, false
	}
	members, err := session.JSON.Split(document)
	if err != nil || len(members) == 0 || !isTag(s.tags, members[0].Name) {
		return members, err == nil
	}
	for _, m := range members {
		if m.Name != members[0].Name {
			return members, true
		}
	}
	if members[0].Name != tagDict {
		return nil, true
	}
	inner, err := session.JSON.Split(members[len(members)-1].Value)
	if err != nil || len(inner) != 1 {
		return nil, false
	}
	inner[0].Name = inner[0].Name[:len(inner[0].Name)-len("__")]
	return inner, true
}

var splitDocuments = []string{
	``, ` `, `{}`, ` { } `, `{} x`, `[]`, `1`, `"a"`, `{`, `{"a"`, `{"a":`, `{"a":1`, `{"a":1,}`, `{,}`,
	`{"a" 1}`, `{"a":1 "b":2}`, `{a:1}`, "{\"a\xff\":1}", "{\"a\n\":1}",
	`{"a":1}`, ` { "a" : [ 1 , {"b" : 2 } ] , "c" : NaN } `, `{"a":1,"a":2}`, `{"b":1,"a":2}`, `{"":{}}`,
	`{"a":01}`, `{"a":xyz}`, `{"a":[}`, `{"a":-Infinity,"b":1e999}`,
	`{"\u0061\n\ud83d\ude00é":"\u00e9"}`, `{"\ud83d":1}`, `{"a":"\ud83d"}`, `{"a\"b":1,"c\\":2}`,
	`{" t":[1]}`, `{" t":1}`, `{"\u0020t":[1]}`, `{" di":{" t__":1}}`, `{" di":{"a":1}}`, `{" di":{" t__":1,"b__":2}}`,
	`{" di":{"a__":1}," t":1}`, `{" t":1," t":2}`, `{" t":1,"a":2," t":2}`,
	`{" di":{"_user_id__":"ann"}}`, `{" b":"%%"}`, `{"a":{" b":"%%"}}`, `{"a":{" t":[{" m":"<b>"}]}}`,
	`{" od":[]}`, `{" od":1}`, `{"a":{" od":[]},"b":1}`, `{"a":{" od":1},"b":1}`, `{" od":[]," od":1}`,
	`{"_user_id":"ann"}`, `{"_user_id":"ann","_user_id":7}`, `{"_user_id":7,"_user_id":"bob"}`, `{"a":"_user_id"}`,
	`{"a":{"_user_id":"ann"}}`, `{"_user_id":"\u0061"}`, `{"_user_id":{" m":"ann"}}`,
	`{"_user_id":{" t":["ann"]}}`, `{"_user_id":{" b":"%%"}}`, `{"_user_id":null}`,
	`{"a":"_user_id","\u005fuser_id":"ann"}`, `{"\u005fuser_id":"ann"}`, `{"_user_id":"ann"`, `{"_user_id":"ann"} x`,
	`{"_user_id":"ann","a":"\ud83d"}`, `{"_user_id":"` + strings.Repeat("x", 300) + `"}`,
	`{"_user_id":"a","b":` + strings.Repeat("[", 600) + strings.Repeat("]", 600) + `}`,
	`{"_user_id":"a","b":` + strings.Repeat("[", 498) + strings.Repeat("]", 498) + `}`,
	`{"_user_id":"a","b":` + strings.Repeat("[", 499) + strings.Repeat("]", 499) + `}`,
	`{"b":` + strings.Repeat("[", 500) + strings.Repeat("]", 500) + `}`,
	`{"_user_id":"a","b":` + strings.Repeat("[", 500) + strings.Repeat("]", 500) + `}`,
	"{\"_user_id\":\"a\",\"b\":\"\xff\"}",
	`{"a":1,"b":2,"c":3,"d":4,"e":5,"f":6,"g":7,"h":8,"i":9,"j":10,"k":11,"l":12,"m":13,` +
		`"n":14,"o":15,"p":16,"q":17,"r":18,"` + strings.Repeat("s", 200) + `":19}`,
}

func compareSplit(t *testing.T, document []byte) {
	t.Helper()
	list := Tag{Key: " od", Encode: func(any) (any, bool) {
		return nil, false
	}, Decode: func(content any) (any, error) {
		if _, ok := content.([]any); !ok {
			return nil, errors.New("no list")
		}
		return content, nil
	}}
	for _, tags := range [][]Tag{nil, {list}} {
		s := &taggedJSON{tags}
		want, known := splitTwice(s, document)
		got, err := s.Split(document)
		if known && !reflect.DeepEqual(got, want) {
			t.Errorf("%.200s: split into %q, %v; want %q", document, got, err, want)
		}
		if err == nil && len(got) > 0 {
			joined, joinErr := s.Join(got)
			back, backErr := s.Split(joined)
			if joinErr != nil || backErr != nil || !reflect.DeepEqual(back, got) {
				t.Errorf("%.200s: put together again: %s, %v, %v", document, joined, joinErr, backErr)
			}
		}
		for _, m := range got {
			if cap(m.Value) != len(m.Value) {
				t.Errorf("%.200s: who appends to %s overwrites what follows", document, m.Name)
			}
		}
	}
}

func TestSplitInOnePass(t *testing.T) {
	t.Parallel()
	for _, document := range splitDocuments {
		compareSplit(t, []byte(document))
	}
}

// FuzzSplit: one pass finds what two found.
func FuzzSplit(f *testing.F) {
	for _, document := range splitDocuments {
		f.Add([]byte(document))
	}
	f.Fuzz(func(t *testing.T, document []byte) { compareSplit(t, document) })
}

// TestPlainText: the shorter way to text leads to the same.
func TestPlainText(t *testing.T) {
	t.Parallel()
	for _, data := range []string{``, `"`, `""`, `"a"`, ` "a"`, `"a" `, `"a`, `"a""`, `"a"b"`, `"\""`,
		`"\u0061"`, `"\\"`, "\"a\nb\"", "\"\x7f\"", "\"\xff\"", `"é"`, `"\ud83d"`, `a"`, `1`, `null`,
		`{" m":"<b>"}`, `{" b":"YQ=="}`} {
		p := parser{data: []byte(data)}
		value, wantErr := p.whole()
		var want string
		if wantErr == nil {
			wantErr = assign(value, &want)
		}
		if strings.Contains(data, "\xff") {
			want, wantErr = "", errForm
		}
		got := ""
		if err := TaggedJSON.Unmarshal([]byte(data), &got); got != want || err != wantErr {
			t.Errorf("%q: got %q, %v; want %q, %v", data, got, err, want, wantErr)
		}
	}
}

// TestTextBytes puts every byte at every place of a text, which is read in eights.
func TestTextBytes(t *testing.T) {
	t.Parallel()
	for c := range 256 {
		for at := range 20 {
			for _, fill := range []string{"x", "\u00e9", "!", "~"} {
				data := []byte(`"` + strings.Repeat(fill, at) + string([]byte{byte(c)}) +
					strings.Repeat(fill, 20-at) + `"`)
				var got, want any
				err, wantErr := TaggedJSON.Unmarshal(data, &got), json.Unmarshal(data, &want)
				if !utf8.Valid(data) {
					want, wantErr = nil, errForm
				}
				if got != want || (err == nil) != (wantErr == nil) {
					t.Errorf("%q: got %q, %v; want %q, %v", data, got, err, want, wantErr)
				}
			}
		}
	}
}

func TestIntegers(t *testing.T) {
	t.Parallel()
	for data, want := range map[string]int{`7`: 7, `-2147483648`: -1 << 31, `2.0`: 2,
		`2.5`: 0, `9223372036854775808`: 0, `"7"`: 0, `true`: 0, `[7]`: 0} {
		got := 0
		if err := TaggedJSON.Unmarshal([]byte(data), &got); got != want || (err == nil) != (want != 0) {
			t.Errorf("%s: got %d, %v; want %d", data, got, err, want)
		}
	}
}
