package flask_test

import (
	"math"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/hipflask/session"
	"github.com/hipflask/session/flask"
)

func TestMarshal(t *testing.T) {
	t.Parallel()
	type point struct {
		X int     `json:"x"`
		F float64 `json:"f"`
	}
	huge, _ := new(big.Int).SetString("123456789012345678901234567890", 10)
	for _, c := range []struct {
		value any
		want  string
	}{
		{nil, `null`},
		{"é\U0001F600\x7f/<>&'\"\\\n\r\t\f\b\x01", `"\u00e9\ud83d\ude00\u007f/<>&'\"\\\n\r\t\f\b\u0001"`},
		{1.0, `1.0`}, {0.0001, `0.0001`}, {0.00001, `1e-05`}, {1e15, `1000000000000000.0`}, {1e16, `1e+16`},
		{1.5e300, `1.5e+300`},
		{5e-324, `5e-324`}, {math.Copysign(0, -1), `-0.0`}, {math.NaN(), `NaN`}, {math.Inf(-1), `-Infinity`},
		{float32(0.1), `0.1`},
		{int8(-3), `-3`}, {uint64(math.MaxUint64), `18446744073709551615`}, {huge, `123456789012345678901234567890`},
		{[]byte{0, 0xff}, `{" b":"AP8="}`},
		{flask.Tuple{1, flask.Tuple{2}}, `{" t":[1,{" t":[2]}]}`},
		{flask.Markup("<b>x</b>"), `{" m":"<b>x</b>"}`},
		{flask.UUID{0x12, 0x34}, `{" u":"12340000000000000000000000000000"}`},
		{time.Date(2024, 2, 29, 23, 59, 59, 999, time.UTC), `{" d":"Thu, 29 Feb 2024 23:59:59 GMT"}`},
		{map[string]any{" t": 1}, `{" di":{" t__":1}}`},
		{map[string]any{" t__": 1}, `{" t__":1}`},
		{map[string]any{" m": 1, " b": 2}, `{" b":2," m":1}`},
		{map[string]any{" di": map[string]any{" t": flask.Tuple{1}}}, `{" di":{" di__":{" di":{" t__":{" t":[1]}}}}}`},
		{point{1, 2}, `{"f":2,"x":1}`},
		{[]point(nil), `null`},
		{[]int{1, 2}, `[1,2]`},
		{map[string]bool{"b": true, "a": false}, `{"a":false,"b":true}`},
		{[]session.FlashMessage{{Category: "message", Message: "hi"}}, `[{" t":["message","hi"]}]`},
	} {
		got, err := flask.TaggedJSON.Marshal(c.value)
		if err != nil || string(got) != c.want {
			t.Errorf("Marshal(%#v): got %s, %v; want %s", c.value, got, err, c.want)
		}
	}
}

func TestMarshalRefuses(t *testing.T) {
	t.Parallel()
	deep := any(1)
	for range 301 {
		deep = []any{deep}
	}
	for name, value := range map[string]any{
		"zero time": time.Time{}, "year 99": time.Date(99, 1, 1, 0, 0, 0, 0, time.UTC),
		"year 10000": time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC),
		"not UTF-8":  "secret\xff", "function": func() {}, "channel": make(chan int), "complex": 1i,
		"deep": deep, "keys": map[int]int{1: 1},
	} {
		got, err := flask.TaggedJSON.Marshal(value)
		if name == "keys" { // encoding/json writes such keys as text, and so does Python
			if string(got) != `{"1":1}` {
				t.Errorf("%s: got %s, %v", name, got, err)
			}
			continue
		}
		if err == nil {
			t.Errorf("%s: got %s, want an error", name, got)
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: the error quotes the value: %v", name, err)
		}
	}
}

func TestClockAhead(t *testing.T) {
	t.Parallel()
	keys := []string{"secret-key"}
	signer, err := flask.NewSigner("cookie-session", keys, flask.DeriveHMAC, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ahead := signer.Sign([]byte(`{"a":1}`), time.Now().Add(3*time.Second))
	strict, err := flask.Cookie(keys, "session")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := strict.Decode(ahead); err != session.ReasonFuture {
		t.Errorf("a cookie from 3 s ahead: got %v, want %v", err, session.ReasonFuture)
	}
	lenient, err := flask.Options{Leeway: time.Minute}.Cookie(keys, "session")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lenient.Decode(ahead); err != nil {
		t.Errorf("with a leeway of a minute: got %v, want a session", err)
	}
	far := signer.Sign([]byte(`{"a":1}`), time.Now().Add(2*time.Minute))
	if _, err := lenient.Decode(far); err != session.ReasonFuture {
		t.Errorf("a cookie from 2 min ahead with a leeway of one: got %v, want %v", err, session.ReasonFuture)
	}
}
