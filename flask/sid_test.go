package flask_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/hipflask/session"
	"github.com/hipflask/session/flask"
)

// The signed value was made by Flask-Session 0.8.0 with itsdangerous 2.2.0.
const (
	flaskSID    = "w1DVffQrilVeVCoY8TopL87JgTWJ9b_NN3dqGY4jPjY"
	flaskSigned = flaskSID + ".3UBiojH7d81VuNyQHDOrjpS6HRE"
)

func TestSID(t *testing.T) {
	t.Parallel()
	f, err := flask.SID(nil, "session")
	if err != nil {
		t.Fatal(err)
	}
	for _, sid := range []string{flaskSID, "0f8fad5b-d9cb-469f-a165-70867728950e", strings.Repeat("a", 128)} {
		if key, err := f.Parse(sid); err != nil || key != sid {
			t.Errorf("%d characters: got %v, want the ID itself", len(sid), err)
		}
	}
	for _, bad := range []string{"", "short", flaskSigned, strings.Repeat("a", 129), strings.Repeat("a", 20) + ":x",
		flaskSID + "\n", flaskSID + " ", flaskSID + "é"} {
		if _, err := f.Parse(bad); !errors.Is(err, session.ReasonMalformed) {
			t.Errorf("%d characters: got %v, want malformed", len(bad), err)
		}
	}
	token, key := f.New()
	again, _ := f.New()
	if token != key || len(token) != 43 || token == again {
		t.Errorf("New: got a token of %d characters, equal to its key: %v, to the next: %v", len(token),
			token == key, token == again)
	}
}

func TestSignedSID(t *testing.T) {
	t.Parallel()
	f, err := flask.SignedSID([]string{"secret-key", "older"}, "session")
	if err != nil {
		t.Fatal(err)
	}
	if key, err := f.Parse(flaskSigned); err != nil || key != flaskSID {
		t.Errorf("made by Flask-Session: got %v", err)
	}
	old, _ := flask.SignedSID([]string{"older"}, "session")
	token, key := old.New()
	if got, err := f.Parse(token); err != nil || got != key {
		t.Errorf("signed by a fallback: got %v", err)
	}
	token, _ = f.New()
	if _, err := old.Parse(token); !errors.Is(err, session.ReasonSignature) {
		t.Errorf("signed by another key: got %v, want %v", err, session.ReasonSignature)
	}
	for i := range len(flaskSigned) {
		b := []byte(flaskSigned)
		if b[i]++; b[i] == '{' {
			b[i] = 'a'
		}
		if _, err := f.Parse(string(b)); err == nil {
			t.Errorf("character %d changed: taken", i)
		}
	}
	for _, bad := range []string{"", ".", flaskSID, flaskSID + ".", flaskSigned + "=", "." + flaskSigned[44:]} {
		if _, err := f.Parse(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
	if _, err := flask.SignedSID([]string{"a", ""}, "session"); err == nil ||
		!strings.Contains(err.Error(), "SecretKeyFallbacks[0]") {
		t.Errorf("an empty key: got %v, want an error that names it", err)
	}
}
