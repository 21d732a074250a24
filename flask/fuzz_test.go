package flask_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/hipflask/session/flask"
)

// FuzzTaggedJSON: no bytes make it panic, and what it reads it writes in one way, which reads and writes the same again.
func FuzzTaggedJSON(f *testing.F) {
	for _, seed := range []string{
		`{"a":1}`, `{" t":[1,{" t":[]}]}`, `{" di":{" t__":1}}`, `{" b":"AP8="}`, `{" d":"Thu, 29 Feb 2024 23:59:59 GMT"}`,
		`{" u":"12345678123456781234567812345678"}`, `{" m":"<b>"}`, `[NaN,-Infinity,1e400,-0,1E5,123456789012345678901234567890]`,
		`"\ud83d\ude00\u0000"`, `{"a":1,"a":2}`, ` { "a" : [ ] } `, `{" di":{" di__":{" di":{" t__":{" t":[1]}}}}}`, `{" t":1}`, `"\ud83d"`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if members, err := flask.TaggedJSON.Split(data); err == nil {
			for _, m := range members {
				var v any
				if err := flask.TaggedJSON.Unmarshal(m.Value, &v); err != nil {
					t.Errorf("a value of a document that was taken can't be read: %v", err)
				}
			}
		}
		var value any
		if flask.TaggedJSON.Unmarshal(data, &value) != nil {
			return
		}
		once, err := flask.TaggedJSON.Marshal(value)
		if err != nil {
			return // deeper than what may be written
		}
		var again any
		if err := flask.TaggedJSON.Unmarshal(once, &again); err != nil {
			t.Fatalf("what was written can't be read: %v: %q", err, once)
		}
		twice, err := flask.TaggedJSON.Marshal(again)
		if err != nil || !bytes.Equal(once, twice) {
			t.Fatalf("written once %q, and again %q, %v", once, twice, err)
		}
	})
}

// FuzzFlaskCookie: no cookie makes it panic, and none is taken that was not signed.
func FuzzFlaskCookie(f *testing.F) {
	codec, err := flask.Cookie([]string{"secret-key"}, "session")
	if err != nil {
		f.Fatal(err)
	}
	signer, err := flask.NewSigner("cookie-session", []string{"secret-key"}, flask.DeriveHMAC, nil, 0)
	if err != nil {
		f.Fatal(err)
	}
	f.Add("eyJhIjoxfQ.ZVPxAA.kLN1Gx0L6rY_ztgI9I8kkga4vjo", []byte(`{"a":1}`), int64(1700000000))
	f.Add(".eJw.AAAA.x", []byte("."), int64(-1))
	f.Fuzz(func(t *testing.T, cookie string, payload []byte, at int64) {
		if _, err := codec.Decode(cookie); err == nil {
			if back, when, err := signer.Unsign(cookie); err != nil || signer.Sign(back, when) == "" {
				t.Errorf("the codec takes a cookie that the signer does not: %v", err)
			}
		}
		codec.Decode(signer.Sign(payload, time.Unix(at, 0))) // rightly signed, whatever is in it
	})
}
