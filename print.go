package session

import (
	"fmt"
	"io"
)

// Config, Manager and Session, and the context of a request, hold secrets. The methods of this file keep these out of
// logs. MarshalText is for encoding/json and what else encodes exported fields, such as the handlers of log/slog.

const hiddenConfig = "session.Config{SecretKey: (hidden), ...}"

// Format implements [fmt.Formatter]. It prints nothing of the Config, whatever the verb.
func (c Config) Format(f fmt.State, _ rune) { io.WriteString(f, hiddenConfig) }

// MarshalText implements [encoding.TextMarshaler], so that encoding/json and log/slog print nothing of the Config.
func (c Config) MarshalText() ([]byte, error) { return []byte(hiddenConfig), nil }

// Format implements [fmt.Formatter]. It prints nothing of the Manager, whatever the verb.
func (m Manager) Format(f fmt.State, _ rune) { io.WriteString(f, "session.Manager") }

// Format implements [fmt.Formatter]. It prints the session's handle, whatever the verb.
func (s Session) Format(f fmt.State, _ rune) {
	handle := ""
	if s.sealedSession != nil {
		handle = s.Info().Handle
	}
	fmt.Fprintf(f, "session.Session(%s)", handle)
}

// Format implements [fmt.Formatter]. Contexts print what they wrap, and a request has its cookies.
func (x *exchange) Format(f fmt.State, _ rune) { io.WriteString(f, x.String()) }

// String implements [fmt.Stringer], which contexts derived from this one call.
func (x *exchange) String() string { return "session.Handler" }
