package dbsc_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/hipflask/session"
)

// requests returns what sends a request, for BenchmarkRequest.
func requests(b *testing.B, bind, middleware bool) func() {
	x := newSite(b)
	c := newBrowser(b, x)
	if bind {
		c.bind()
	} else {
		c.login()
	}
	var handler http.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, session.From(r).Principal())
	})
	if middleware {
		handler = x.device.Middleware(handler)
	}
	handler = x.sessions.Handler(handler)
	r := httptest.NewRequest("GET", "/me", nil)
	for name, value := range c.cookies {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	return func() {
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		if w.Body.String() != "ann" {
			b.Fatalf("got %q", w.Body)
		}
	}
}

// BenchmarkRequest measures what the middleware adds to a request, and the MAC alone.
func BenchmarkRequest(b *testing.B) {
	for _, c := range []struct {
		name             string
		bind, middleware bool
	}{{"without", true, false}, {"unbound", false, true}, {"bound", true, true}} {
		b.Run(c.name, func(b *testing.B) {
			send := requests(b, c.bind, c.middleware)
			b.ReportAllocs()
			for b.Loop() {
				send()
			}
		})
	}
	b.Run("MAC", func(b *testing.B) {
		x := newSite(b)
		message := []byte("QlbXQ7dMyvO6Kp1g.2WXP4KLZDEY4YWLO7UA343ZH25 mx41hplc")
		b.ReportAllocs()
		for b.Loop() {
			x.sessions.Sign("github.com/hipflask/session/dbsc cookie", message)
		}
	})
}

// BenchmarkRefresh measures both requests of a refresh with an ES256 key, of which one verifies the signature.
func BenchmarkRefresh(b *testing.B) {
	x := newSite(b)
	c := newBrowser(b, x)
	c.bind()
	proof := c.proof(c.challenge(), false)
	for b.Loop() {
		c.challenge()
		if res := c.answer(proof); res.StatusCode != http.StatusOK {
			b.Fatal(res.Status)
		}
	}
}

// BenchmarkES256 is what a refresh can't do without: the verification of a signature.
func BenchmarkES256(b *testing.B) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	message := sha256.Sum256([]byte("a proof"))
	signature, err := ecdsa.SignASN1(rand.Reader, key, message[:])
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if !ecdsa.VerifyASN1(&key.PublicKey, message[:], signature) {
			b.Fatal("not verified")
		}
	}
}
