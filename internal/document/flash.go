package document

import (
	"bytes"
	"encoding/json"
	"errors"
)

// Flash is a flash message as a document has it. Flask's are of any type: an application flashes a form's errors, which
// are a dict, or a number.
type Flash struct {
	Category, Message string // as text, to be shown

	// Kept is what a Serializer has read, in a form of its own: it writes that back. Nil: Category and Message.
	Kept any
}

// MarshalJSON implements [json.Marshaler].
func (f Flash) MarshalJSON() ([]byte, error) {
	if raw, ok := f.Kept.(json.RawMessage); ok {
		return raw, nil
	}
	return json.Marshal([2]string{f.Category, f.Message})
}

// UnmarshalJSON implements [json.Unmarshaler].
func (f *Flash) UnmarshalJSON(data []byte) error {
	var pair []json.RawMessage
	if err := json.Unmarshal(data, &pair); err != nil || len(pair) != 2 {
		return errors.New("session: not a flash message")
	}
	*f = Flash{text(pair[0]), text(pair[1]), json.RawMessage(bytes.Clone(data))}
	return nil
}

// text returns a text as it is, and any other value as JSON.
func text(value json.RawMessage) (s string) {
	if json.Unmarshal(value, &s) != nil || len(value) > 0 && value[0] != '"' {
		return string(value)
	}
	return s
}
