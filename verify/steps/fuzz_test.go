package steps_test

import (
	"testing"

	"github.com/hipflask/session/verify/steps"
)

// Each fuzz target looks for an input for which its parser takes more steps than the bound.

func FuzzTaggedJSON(f *testing.F)      { fuzz(f, "tagged JSON") }
func FuzzJSON(f *testing.F)            { fuzz(f, "JSON") }
func FuzzFlaskJSON(f *testing.F)       { fuzz(f, "Flask-Session's JSON") }
func FuzzMsgpack(f *testing.F)         { fuzz(f, "msgpack") }
func FuzzPickle(f *testing.F)          { fuzz(f, "pickle") }
func FuzzPickleAsMsgpack(f *testing.F) { fuzz(f, "pickle as msgpack") }
func FuzzFlaskCookie(f *testing.F)     { fuzz(f, "Flask's cookie") }
func FuzzEncryptedCookie(f *testing.F) { fuzz(f, "encrypted cookie") }
func FuzzCookieHeader(f *testing.F)    { fuzz(f, "cookie header") }
func FuzzFlaskHeader(f *testing.F)     { fuzz(f, "header of Flask's cookies") }
func FuzzRecordFile(f *testing.F)      { fuzz(f, "record in a file") }

func fuzz(f *testing.F, parser string) {
	if _, err := build(); err != nil { // before the fuzzer starts other processes
		f.Fatal(err)
	}
	p := steps.ByName(parser)
	for _, shape := range shapes(parser) {
		f.Add(shape(600))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		p.Prepare(data)() // here too, since the fuzzer is guided by what runs in this process
		if n := take(t, p, data); n > p.Bound(len(data)) {
			t.Errorf("%d steps for %d bytes; the bound is %d", n, len(data), p.Bound(len(data)))
		}
	})
}
