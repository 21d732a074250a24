package main

import (
	"encoding/json"
	"testing"
	"time"
)

const fuzzKey = "tests-Xk4Tq9ZbW7mRv2Ld8NsHy3Gc"

// Whatever is piped in gets a verdict or a refusal to judge, and the verdict can be shown.
func FuzzVerify(f *testing.F) {
	f.Add("eyJjYXJ0IjpbInRlYSIsMl19.anRfsQ.AAAAAAAAAAAAAAAAAAAAAAAAAAA", "")
	f.Add("Cookie: a=b; session=\"x.y.z\"; c", "session")
	f.Add("Set-Cookie: __Host-session=0123456789012345678901234567890123456789012; Secure", "")
	f.Add(".eJyrVkpOLCpRsoquVkrKz1eyUkpKLFKqjQUAWuEHVA.anRfsQ.AA", "")
	f.Fuzz(func(t *testing.T, text, name string) {
		name, value, err := pick(text, name)
		if err != nil {
			return
		}
		for _, format := range []string{"", formatID, formatEncrypted, formatFlask} {
			for _, secrets := range [][]secret{nil, {{"SECRET_KEY", fuzzKey}}} {
				j := &judge{format: format, name: name, value: value, secrets: secrets, now: time.Now()}
				v, err := j.judge(t.Context())
				if err != nil {
					if secrets != nil {
						t.Errorf("judge: got %v, want a verdict", err)
					}
					continue
				}
				if v.Valid {
					t.Error("judge: got valid, want refused: nobody here knows the key")
				}
				if _, err := json.Marshal(v); err != nil {
					t.Errorf("the verdict can't be shown: %v", err)
				}
			}
		}
	})
}
