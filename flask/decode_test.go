package flask_test

import (
	"strings"
	"testing"

	"github.com/hipflask/session/flask"
)

// TestTagsAreReadOnce: however deep tags are nested, the content of each is decoded once by Unmarshal, and not by
// Split. It counts the calls of a tag's Decode. verify/steps counts all other work.
func TestTagsAreReadOnce(t *testing.T) {
	t.Parallel()
	decoded := 0
	tagged := flask.NewTaggedJSON(flask.Tag{
		Key:    " od",
		Encode: func(any) (any, bool) { return nil, false },
		Decode: func(content any) (any, error) { decoded++; return content, nil },
	})
	const levels = 400
	for _, first := range []string{`" od"`, `"\u0020od"`, `" t"`, `" x"`, `"\\x"`, `"a"`} {
		nested := strings.Repeat(`[{`+first+`:`, levels/2) + `{" od":1}` + strings.Repeat(`}]`, levels/2)
		if first == `" t"` {
			nested = strings.Repeat(`{" t":[`, levels/2) + `{" od":1}` + strings.Repeat(`]}`, levels/2)
		}
		want := 1
		if strings.Contains(first, "od") {
			want += levels / 2
		}
		decoded = 0
		members, err := tagged.Split([]byte(`{"a":` + nested + `,"b":1}`))
		if err != nil || len(members) != 2 || decoded != 0 {
			t.Errorf("first key %s: Split gave %d members, %v, and decoded %d tags, want none", first,
				len(members), err, decoded)
			continue
		}
		decoded = 0
		var v any
		if err := tagged.Unmarshal(members[0].Value, &v); err != nil || decoded != want {
			t.Errorf("first key %s: Unmarshal: %v, and decoded %d tags, want %d", first, err, decoded, want)
		}
	}
}
