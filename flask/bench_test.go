package flask

import (
	"strings"
	"testing"
	"time"

	"github.com/hipflask/session/store"
)

// BenchmarkCookie is what a request has to do with Flask's cookie, without the Manager: compressed, as Flask writes
// most sessions, and one that is too short for that.
func BenchmarkCookie(b *testing.B) {
	made, err := Cookie([]string{"secret-key"}, "session")
	if err != nil {
		b.Fatal(err)
	}
	c := made.(*codec)
	for name, document := range map[string]string{
		"compressed": `{"_fresh":true,"_user_id":"user-000012","remarks":"a few words that a visitor left in a form, ` +
			`so that a session has about two hundred bytes","theme":"dark green","visits":1}`,
		"short": `{"_fresh":true,"_user_id":"42","theme":"dark green"}`,
	} {
		value := c.signer.Sign([]byte(document), time.Now())
		if strings.HasPrefix(value, ".") != (name == "compressed") {
			b.Fatalf("%s: the cookie is %s", name, value)
		}
		b.Run("op=read/cookie="+name, func(b *testing.B) {
			b.ReportAllocs()
			var theme string
			for b.Loop() {
				r, members, err := c.DecodeSplit(value)
				if err != nil || r.Principal == "" {
					b.Fatal(err)
				}
				for _, m := range members {
					if m.Name == "theme" && c.serializer.Unmarshal(m.Value, &theme) != nil {
						b.Fatal(m)
					}
				}
			}
		})
		b.Run("op=write/cookie="+name, func(b *testing.B) {
			b.ReportAllocs()
			r := store.Record{Data: []byte(document)}
			members, err := c.serializer.Split(r.Data)
			if err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				if r.Data, err = c.serializer.Join(members); err != nil {
					b.Fatal(err)
				}
				if _, err := c.Encode(r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
