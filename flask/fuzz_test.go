package flask_test

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"
	"time"

	"github.com/hipflask/session"
	"github.com/hipflask/session/flask"
)

// FuzzTaggedJSON: no bytes make it panic, and what it reads it writes in one way, which reads and writes the same
// again.
func FuzzTaggedJSON(f *testing.F) {
	for _, seed := range []string{
		`{"a":1}`, `{" t":[1,{" t":[]}]}`, `{" di":{" t__":1}}`, `{" b":"AP8="}`,
		`{" d":"Thu, 29 Feb 2024 23:59:59 GMT"}`,
		`{" u":"12345678123456781234567812345678"}`, `{" m":"<b>"}`,
		`[NaN,-Infinity,1e400,-0,1E5,123456789012345678901234567890]`,
		`"\ud83d\ude00\u0000"`, `{"a":1,"a":2}`, ` { "a" : [ ] } `, `{" di":{" di__":{" di":{" t__":{" t":[1]}}}}}`,
		`{" t":1}`, `"\ud83d"`,
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

// FuzzStored: no bytes in a store make a serializer panic. What it reads it writes in one way, which reads and writes
// the same again, and what Msgpack and JSON convert they read themselves.
func FuzzStored(f *testing.F) {
	for _, document := range smallDocuments {
		if b, err := hex.DecodeString(strings.ReplaceAll(document, " ", "")); err == nil {
			f.Add(b)
		}
	}
	for _, seed := range []string{
		"\x81\xa1a\xd6\xff\x65\xe1\x1a\x7f",
		"\x82\xa1a\x92\xc0\xcf\xff\xff\xff\xff\xff\xff\xff\xff\xa1b\x81\x01\xc4\x01x", "\xde\x00\x00",
		"\x80\x02}q\x00(X\x01\x00\x00\x00aq\x01c_codecs\nencode\n" +
			"X\x02\x00\x00\x00\xc3\xbfX\x06\x00\x00\x00latin1\x86R]h\x01au.",
		"\x80\x05}\x94(\x8c\x01t\x94\x8c\x08datetime\x94\x8c\x08datetime\x94\x93\x94" +
			"C\x0a\x07\xe8\x02\x1d\x17;;\x01\xe2@\x94h\x02" +
			"\x8c\x08timezone\x94\x93\x94h\x02\x8c\x09timedelta\x94\x93\x94" +
			"K\x00K\x00K\x00\x87\x94R\x94\x85\x94R\x94\x86\x94R\x94u.",
		"\x80\x04}\x8c\x01u\x8c\x04uuid\x8c\x04UUID\x93)\x81}\x8c\x03int\x8a\x01\x07sbs.",
		"\x80\x04}X\x01\x00\x00\x00a(K\x01\x8f(\x90\x91s.", `{"a":[1e400,-0.0,"\ud83d\ude00"]}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, s := range []session.Serializer{flask.Msgpack, flask.JSON, flask.Pickle} {
			members, err := s.Split(data)
			if err != nil {
				continue
			}
			for i, m := range members {
				var v any
				if s.Unmarshal(m.Value, &v) != nil {
					continue // a type that Go has none for
				}
				once, err := s.Marshal(v)
				if err != nil {
					continue // deeper than what may be written, or larger
				}
				var again any
				if err := s.Unmarshal(once, &again); err != nil {
					t.Fatalf("%T: what was written can't be read: %v: %q", s, err, once)
				}
				if twice, err := s.Marshal(again); err != nil || !bytes.Equal(once, twice) {
					t.Fatalf("%T: written once %q, and again %q, %v", s, once, twice, err)
				}
				members[i].Value = once
			}
			document, err := s.Join(members)
			if err != nil {
				t.Fatalf("%T: %v", s, err)
			}
			if _, err := s.Split(document); err != nil {
				t.Fatalf("%T: what was put together can't be taken apart: %v: %q", s, err, document)
			}
		}
	})
}
