package main

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode"
)

// Values come from visitors: nothing of them reaches a terminal that it could obey, and the JSON says the same as
// before.
func TestPrintableJSON(t *testing.T) {
	t.Parallel()
	var all strings.Builder
	for r := rune(0x80); r < 0x11_0000; r++ {
		if r < 0xd800 || r > 0xdfff {
			all.WriteRune(r)
		}
	}
	for _, text := range []string{"\x1b[2J\x7f\u009b31m\u0085", "\u202eevil\u2066\u200f\u061c",
		"\u2028\u2029\ufeff\u00ad\u200b", "\U000e0001\U000e007f", "\u00e4\u6f22\U0001f600 plain", all.String()} {
		data, err := json.Marshal(map[string]string{text: text})
		if err != nil {
			t.Fatal(err)
		}
		data = []byte(strings.NewReplacer(`\u2028`, "\u2028", `\u2029`, "\u2029").Replace(string(data)))
		got, err := indented(data)
		if err != nil {
			t.Fatal(err)
		}
		if i := strings.IndexFunc(string(got), func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }); i >= 0 {
			t.Errorf("%.20q: got %.40q, which a terminal may obey", text, got[i:])
		}
		var back map[string]string
		if err := json.Unmarshal(got, &back); err != nil || back[text] != text {
			t.Errorf("%.20q: got another value back, %v", text, err)
		}
	}
	if got := string(printableJSON([]byte("\"\x9b31m\""))); got != `"\ufffd31m"` {
		t.Errorf("a byte that is not UTF-8: got %q", got)
	}
}
