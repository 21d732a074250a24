package storeurl_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/hipflask/session"
	"github.com/hipflask/session/internal/servertest"
	"github.com/hipflask/session/store"
)

// TestPasswordsAreNotPrinted: a store prints no password of its URL by any verb, also in an unexported field, which
// package fmt reads without calling a method.
func TestPasswordsAreNotPrinted(t *testing.T) {
	t.Parallel()
	const password = "open sesame" // servertest's, for the databases
	locked := servertest.Redis(t, "--requirepass", password)
	for name, url := range map[string]string{
		"redis":    "redis://:open%20sesame@" + locked.Addr,
		"postgres": postgres().URL,
		"mariadb":  mariadb().URL,
	} {
		s := open(t, url)
		m, err := session.New(session.Config{Store: s, SecretKey: session.NewSecretKey()})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { m.Close() })
		for form, v := range map[string]any{
			"itself": s, "a field": struct{ s store.Store }{s}, "an exported field": struct{ S store.Store }{s},
			"a Manager": m, "a field of a Manager": struct{ m *session.Manager }{m}, "a list": []any{s, m},
		} {
			var out bytes.Buffer
			for _, verb := range "vsdqxXpTtbcoOUeEfFgGw" {
				for _, flags := range []string{"", "+", "#"} {
					fmt.Fprintf(&out, "%"+flags+string(verb)+"\n", v)
				}
			}
			slog.New(slog.NewTextHandler(&out, nil)).Info("x", "v", v)
			slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "v", v)
			_ = json.NewEncoder(&out).Encode(v)
			for _, secret := range []string{password, "open%20sesame", fmt.Sprintf("%x", password),
				fmt.Sprintf("%X", password), fmt.Sprint([]byte(password))} {
				if strings.Contains(out.String(), secret) {
					t.Errorf("%s as %s prints the password", name, form)
				}
			}
		}
	}
}
