package session

import (
	"encoding/json"
	"errors"
	"strings"

	"github.com/hipflask/session/internal/document"
)

// flashesKey is Flask's name for the list of flash messages (flask/helpers.py, flash).
const flashesKey = "_flashes"

// FlashMessage is a text for the next page that the client sees. See [Session.Flash].
type FlashMessage struct {
	Category string // "message" by default; "error", "info" and "warning" are usual in Flask
	Message  string // plain text: a template has to escape it, as html/template does
}

// MarshalJSON implements [json.Marshaler]. It returns the form in which Flask-Session stores a message: an array of
// category and message.
func (f FlashMessage) MarshalJSON() ([]byte, error) {
	return json.Marshal([2]string{f.Category, f.Message})
}

// UnmarshalJSON implements [json.Unmarshaler]. It reads the form that MarshalJSON returns, and refuses any other.
func (f *FlashMessage) UnmarshalJSON(data []byte) error {
	var pair []string
	if err := json.Unmarshal(data, &pair); err != nil || len(pair) != 2 {
		return errors.New("session: not a flash message")
	}
	f.Category, f.Message = pair[0], pair[1]
	return nil
}

// Flash keeps a message until [Session.Flashes] is called, normally by the next page. The category is "message" if none
// is given, as in Flask (flask/helpers.py, flash); only the first one is used. Messages of overlapping requests are all
// kept. The messages are stored under the key "_flashes".
func (s *Session) Flash(message string, category ...string) {
	// the save may run the function again, when the caller's memory has changed
	f := document.Flash{Category: "message", Message: strings.Clone(message)}
	if len(category) > 0 {
		f.Category = strings.Clone(category[0])
	}
	updateValue(s, flashesKey, s.m.serializer, nil, func(list []document.Flash) []document.Flash {
		return append(list, f)
	})
}

// Flashes returns the messages, oldest first, and removes them; nil if there are none. Call it before the first byte of
// the response: a template that calls it further down costs a second save. A message that an overlapping request adds
// stays for the next call. If Flask flashes a value that is no text, such as a form's errors, Message is Python's str
// of that value.
func (s *Session) Flashes() []FlashMessage {
	list, _ := getValue[[]document.Flash](s, flashesKey, s.m.serializer)
	if len(list) == 0 {
		return nil
	}
	messages := make([]FlashMessage, len(list))
	for i, f := range list {
		messages[i] = FlashMessage{f.Category, f.Message}
	}
	rest := func(data []byte, present bool) ([]byte, bool, error) {
		var now []document.Flash
		if present && s.m.serializer.Unmarshal(data, &now) != nil || len(now) <= len(list) {
			return nil, false, nil
		}
		rest, err := s.m.serializer.Marshal(now[len(list):])
		return rest, true, err
	}
	s.update(flashesKey, nil, rest, rest)
	return messages
}
