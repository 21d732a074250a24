package devices

import (
	"net/http"
	"strings"
	"sync"

	"github.com/medama-io/go-useragent"
	"github.com/medama-io/go-useragent/agents"
)

// maxHeader is the most that is read of a header that a browser describes itself by. An honest one has a few hundred
// bytes.
const maxHeader = 1024

// parser is made when it is first needed: its table of names takes some milliseconds.
var parser = sync.OnceValue(useragent.NewParser)

// Label says what a request's browser calls itself, as in "Firefox on Windows", for [session.Session.SetLabel]. It
// reads the Client Hints that browsers send unasked over https (Sec-CH-UA and Sec-CH-UA-Platform), and else the
// User-Agent. It returns "Unknown browser" where neither says anything. The text is printable ASCII of at most 90
// bytes.
func Label(r *http.Request) string {
	text := r.UserAgent()
	text = text[:min(len(text), maxHeader)]
	agent := parser().Parse(text)
	browser, system := agent.Browser().String(), platform(agent)
	if name := brand(r.Header.Get("Sec-Ch-Ua")); name != "" {
		browser = name
	}
	if name := strings.Join(quoted(r.Header.Get("Sec-Ch-Ua-Platform")), ""); name != "" && name != "Unknown" {
		system = plain(name)
	}
	if browser == "" {
		product, _, _ := strings.Cut(text, "/")
		if browser = plain(product); browser == "Mozilla" {
			browser = "" // what all browsers say
		}
	}
	switch {
	case browser == "" && system == "":
		return "Unknown browser"
	case browser == "":
		return "Unknown browser on " + system
	case system == "":
		return browser
	}
	return browser + " on " + system
}

func platform(agent useragent.UserAgent) string {
	switch {
	case agent.OS() == agents.OSIOS && agent.IsTablet():
		return "iPad"
	case agent.OS() == agents.OSIOS:
		return "iPhone"
	case agent.OS() == agents.OSMacOS:
		return "macOS"
	}
	return agent.OS().String()
}

// brand returns the browser's name among the brands of Sec-CH-UA. These also have the engine's name, which several
// browsers share, and one that stands for nothing, so that nobody relies on their order (User-Agent Client Hints,
// section 6.2).
func brand(header string) string {
	engine := ""
	for _, name := range quoted(header) {
		switch name {
		case "Google Chrome", "HeadlessChrome":
			return "Chrome"
		case "Microsoft Edge":
			return "Edge"
		case "Chromium":
			engine = name
		default:
			if !strings.Contains(name, "Not") || !strings.Contains(name, "Brand") {
				if name = plain(name); name != "" {
					return name
				}
			}
		}
	}
	return engine
}

// quoted returns the strings of a structured field (RFC 9651, section 3.3.3) that are items of its list. Those behind a
// semicolon are parameters, such as the version.
func quoted(header string) []string {
	var found []string
	header = header[:min(len(header), maxHeader)]
	parameter := false
	for i := 0; i < len(header); i++ {
		switch header[i] {
		case ';':
			parameter = true
		case ',':
			parameter = false
		case '"':
			var text []byte
			for i++; i < len(header) && header[i] != '"'; i++ {
				if header[i] == '\\' && i+1 < len(header) {
					i++
				}
				text = append(text, header[i])
			}
			if i < len(header) && !parameter {
				found = append(found, string(text))
			}
		}
	}
	return found
}

// plain returns a name if it is 1 to 40 letters, digits, spaces and a few marks; else "".
func plain(name string) string {
	if len(name) > 40 {
		return ""
	}
	for _, c := range []byte(name) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c &&
			c <= '9', c == ' ', c == '.', c == '-', c == '_', c == '+':
		default:
			return ""
		}
	}
	return strings.TrimSpace(name)
}
