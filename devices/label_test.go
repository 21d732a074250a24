package devices_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/hipflask/session/devices"
)

const chrome = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 " +
	"Safari/537.36"

func TestLabel(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ agent, brands, platform, want string }{
		{"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "", "", "Firefox on Linux"},
		{chrome + " Edg/140.0", "", "", "Edge on Windows"},
		{"Mozilla/5.0 (Linux; Android 15) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Mobile Safari/537.36",
			"", "", "Chrome on Android"},
		{"Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) " +
			"Version/18.0 Mobile/15E148 Safari/604.1", "", "", "Safari on iPhone"},
		{"Mozilla/5.0 (iPad; CPU OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 " +
			"Mobile/15E148 Safari/604.1", "", "", "Safari on iPad"},
		{"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 " +
			"Safari/605.1.15", "", "", "Safari on macOS"},
		{"curl/8.0", "", "", "curl"},
		{"Mozilla/5.0", "", "", "Unknown browser"},
		{"Mozilla/5.0 (X11; Linux x86_64)", "", "", "Unknown browser on Linux"},
		{"", "", "", "Unknown browser"},
		{chrome, `"Chromium";v="140", "Not=A?Brand";v="24", "Google Chrome";v="140"`, `"Windows"`, "Chrome on Windows"},
		{chrome, `"Not;A=Brand";v="99", "Brave";v="140", "Chromium";v="140"`, `"Windows"`, "Brave on Windows"},
		{chrome, `"Microsoft Edge";v="140", "Chromium";v="140", "Not/A)Brand";v="8"`, `"macOS"`, "Edge on macOS"},
		{chrome, `"Chromium";v="140", "Not(A:Brand";v="8"`, `"Chrome OS"`, "Chromium on Chrome OS"},
		{chrome, `"Not_A Brand";v="8", "Chromium";v="140", "Google Chrome";v="140"`, `"Windows"`, "Chrome on Windows"},
		{"", `"Opera";v="120"`, `"Linux"`, "Opera on Linux"},
		{"", "", `"Android"`, "Unknown browser on Android"},

		// Hostile ones.
		{chrome, `"a\"<b>";v="1`, `"Windows"`, "Chrome on Windows"},
		{chrome, `";;;,,,"`, `"Unknown"`, "Chrome on Windows"},
		{chrome, `"` + strings.Repeat(`\"`, 5000), `"`, "Chrome on Windows"},
		{chrome, `"` + strings.Repeat("x", 41) + `"`, "", "Chrome on Windows"},
		{chrome, `;v="Evil", "Google Chrome"`, "", "Chrome on Windows"},
		{"\x00\xff\u202e", "", "", "Unknown browser"},
		{strings.Repeat("A", 100_000), "", "", "Unknown browser"},
	} {
		r, err := http.NewRequestWithContext(t.Context(), "GET", "/", nil)
		if err != nil {
			t.Fatal(err)
		}
		for name, value := range map[string]string{"User-Agent": c.agent, "Sec-Ch-Ua": c.brands,
			"Sec-Ch-Ua-Platform": c.platform} {
			if value != "" {
				r.Header.Set(name, value)
			}
		}
		if got := devices.Label(r); got != c.want {
			t.Errorf("Label of %.60q, %.60q, %.60q: got %q, want %q", c.agent, c.brands, c.platform, got, c.want)
		}
	}
}
