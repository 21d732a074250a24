package session

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
)

func TestEmptyReasonSaysNothing(t *testing.T) {
	t.Parallel()
	if got := Reason("").Error(); got != "" {
		t.Errorf("the empty reason says %q, want nothing", got)
	}
	if got, want := ReasonIdle.Error(), "session: cookie refused: idle"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// One line logs every event: what it has by name, and nothing of what it hasn't.
func TestEventIsLogged(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	noTime := &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey || a.Key == slog.LevelKey || a.Key == slog.MessageKey {
			return slog.Attr{}
		}
		return a
	}}
	for _, c := range []struct {
		event      Event
		text, json string
	}{
		{Event{Kind: EventLogin, Handle: "h", Principal: "ann", Label: "phone"},
			`session.event=login session.handle=h session.principal=ann session.label=phone`,
			`{"session":{"event":"login","handle":"h","principal":"ann","label":"phone"}}`},
		{Event{Kind: EventRejected, Reason: ReasonIdle},
			`session.event=rejected session.reason=idle`, `{"session":{"event":"rejected","reason":"idle"}}`},
		{Event{Kind: EventTooLate, Handle: "h", Key: "cart", Err: errors.New("header sent")},
			`session.event="too late" session.handle=h session.key=cart session.error="header sent"`,
			`{"session":{"event":"too late","handle":"h","key":"cart","error":"header sent"}}`},
	} {
		for want, handler := range map[string]slog.Handler{c.text: slog.NewTextHandler(&out, noTime),
			c.json: slog.NewJSONHandler(&out, noTime)} {
			out.Reset()
			slog.New(handler).Info("", "session", c.event)
			if got := strings.TrimSpace(out.String()); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		}
	}
}
