package session_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/hipflask/session"
)

// A MAC is worth something for one purpose and one message, under SecretKey or a fallback.
func TestSign(t *testing.T) {
	t.Parallel()
	const next = "next-Hc8Vx2KqT5nWz9RbJd4MyL7s"
	with := func(keys ...string) *bench {
		return newBench(t, func(c *session.Config) { c.SecretKey, c.SecretKeyFallbacks = keys[0], keys[1:] })
	}
	before, during, after := with(secret), with(next, secret), with(next)
	message := []byte("ann may come")
	sum := before.Sign("invitation", message)
	if len(sum) != 32 || !bytes.Equal(sum, before.Sign("invitation", message)) {
		t.Errorf("got %d bytes, want the same 32 each time", len(sum))
	}
	for _, c := range []struct {
		what    string
		by      *bench
		purpose string
		message string
		mac     []byte
		want    bool
	}{
		{"as it was signed", before, "invitation", "ann may come", sum, true},
		{"by a new key beside the old one", during, "invitation", "ann may come", sum, true},
		{"without the old key", after, "invitation", "ann may come", sum, false},
		{"another purpose", before, "invitatio", "ann may come", sum, false},
		{"a part of the purpose in the message", before, "", "invitationann may come", sum, false},
		{"another message", before, "invitation", "bob may come", sum, false},
		{"half of the MAC", before, "invitation", "ann may come", sum[:16], false},
		{"more than the MAC", before, "invitation", "ann may come", append(bytes.Clone(sum), 0), false},
		{"nothing", before, "invitation", "ann may come", nil, false},
		{"the new key signs", after, "invitation", "ann may come", during.Sign("invitation", message), true},
	} {
		if got := c.by.Verify(c.purpose, []byte(c.message), c.mac); got != c.want {
			t.Errorf("%s: got %v, want %v", c.what, got, c.want)
		}
	}
	for i := range sum {
		sum[i] ^= 1
		if before.Verify("invitation", message, sum) {
			t.Errorf("one bit of byte %d changed: got true, want false", i)
		}
		sum[i] ^= 1
	}
}

// A program may use more purposes than a Manager remembers.
func TestSignManyPurposes(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for i := range 200 {
		purpose := fmt.Sprint("purpose ", i)
		if !b.Verify(purpose, nil, b.Sign(purpose, nil)) || b.Verify(purpose, nil, b.Sign("purpose", nil)) {
			t.Fatalf("%s: the MAC does not verify, or another purpose's does", purpose)
		}
	}
}
