package flask_test

import (
	"reflect"
	"testing"

	"github.com/hipflask/session"
	"github.com/hipflask/session/flask"
)

// TestFlashesOfAnyType: flash(form.errors), flash(404), flash(Markup(...)) and so on. What Python's str gives was
// printed by Python 3.11.
func TestFlashesOfAnyType(t *testing.T) {
	list := []any{
		flask.Tuple{"message", "text"},
		flask.Tuple{"error", map[string]any{"email": []any{"It's \"bad\"\n"}, "name": []any{}}},
		flask.Tuple{"message", int64(404)},
		flask.Tuple{int64(5), "a number"},
		flask.Tuple{"message", flask.Markup("<b>x</b>")},
		flask.Tuple{"message", []byte("\x00é'")},
		flask.Tuple{"message", flask.Tuple{1.0, nil, true, flask.Markup("m")}},
		"no pair",
	}
	want := []session.FlashMessage{
		{Category: "message", Message: "text"},
		{Category: "error", Message: `{'email': ['It\'s "bad"\n'], 'name': []}`},
		{Category: "message", Message: "404"},
		{Category: "5", Message: "a number"},
		{Category: "message", Message: "<b>x</b>"},
		{Category: "message", Message: `b"\x00\xc3\xa9'"`},
		{Category: "message", Message: `(1.0, None, True, Markup('m'))`},
		{Category: "message", Message: "no pair"},
		{Category: "info", Message: "from Go"},
	}
	eachLayout(t, flask.Options{}, func(t *testing.T, b *browser) {
		b.visit(t, func(s *session.Session) { s.Set("_flashes", list) })
		b.visit(t, func(s *session.Session) { s.Flash("from Go", "info") })
		b.visit(t, func(s *session.Session) {
			got, _ := s.Get("_flashes")
			if kept, _ := got.([]any); len(kept) != len(list)+1 || !reflect.DeepEqual(kept[:len(list)], list) {
				t.Errorf("after a Flash in Go the messages are %#v, want those that were there and one more", got)
			}
			if got := s.Flashes(); !reflect.DeepEqual(got, want) {
				t.Errorf("got %q, want %q", got, want)
			}
		})
		b.visit(t, func(s *session.Session) {
			if got := s.Flashes(); got != nil {
				t.Errorf("shown twice: %q", got)
			}
		})
	})
}
