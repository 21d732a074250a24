package session_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hipflask/session"
)

type address struct {
	Street string `json:"street"`
	Number int    `json:"number,omitempty"`
}

type basket struct {
	Items  []string
	Prices map[string]float64
	Home   *address
	Since  time.Time
}

// roundTrip sets a value in one request and reads it in the next.
func roundTrip[T any](t *testing.T, value T) {
	t.Run(fmt.Sprintf("%T", value), func(t *testing.T) {
		t.Parallel()
		m, c, key := server(t), newVisitor(t), session.Key[T]("key")
		c.do(m, func(s *session.Session) {
			key.Set(s, value)
			if got, ok := key.Get(s); !ok || !reflect.DeepEqual(got, value) {
				t.Errorf("same request: got %#v, %t, want %#v", got, ok, value)
			}
		})
		c.do(m, func(s *session.Session) {
			if got, ok := key.Get(s); !ok || !reflect.DeepEqual(got, value) {
				t.Errorf("next request: got %#v, %t, want %#v", got, ok, value)
			}
		})
	})
}

func TestTypedValuesComeBack(t *testing.T) {
	t.Parallel()
	roundTrip(t, "text with \"quotes\", \x00, <b>&, \u2028 and \U0001F36A")
	roundTrip(t, true)
	roundTrip(t, -1<<31)
	roundTrip(t, int64(math.MinInt64))
	roundTrip(t, uint64(math.MaxUint64))
	roundTrip(t, 0.1)
	roundTrip(t, float32(16777216))
	roundTrip(t, math.MaxFloat64)
	roundTrip(t, []byte{0, 1, 0xff})
	roundTrip(t, []string{"a", ""})
	roundTrip(t, [2]int{1, 2})
	roundTrip(t, map[string][]int{"a": {1}, "": nil})
	roundTrip(t, map[int]string{1: "one"})
	roundTrip(t, time.Date(2026, 2, 28, 23, 59, 59, 999, time.UTC))
	roundTrip(t, json.RawMessage(`{"a":[1]}`))
	roundTrip(t, &address{"Elm", 3})
	roundTrip(t, (*address)(nil))
	roundTrip(t, basket{Items: []string{"tea"}, Prices: map[string]float64{"tea": 2}, Home: &address{Street: "Elm"}, Since: time.Unix(1, 0).UTC()})
}

func TestUntypedValuesHaveJSONTypes(t *testing.T) {
	t.Parallel()
	m, c := server(t), newVisitor(t)
	type name string
	for i, v := range []struct{ set, want any }{
		{nil, nil},
		{true, true},
		{"text", "text"},
		{name("named"), "named"},
		{7, int64(7)},
		{uint8(7), int64(7)},
		{int64(math.MaxInt64), int64(math.MaxInt64)},
		{uint64(math.MaxUint64), uint64(math.MaxUint64)},
		{2.0, 2.0},
		{float32(0.5), 0.5},
		{math.Copysign(0, -1), math.Copysign(0, -1)},
		{1e300, 1e300},
		{[]int{1, 2}, []any{int64(1), int64(2)}},
		{[]float64{1, 2.5}, []any{1.0, 2.5}},
		{map[string]any{"f": 3.0, "i": 3, "l": []any{1, 1.0}}, map[string]any{"f": 3.0, "i": int64(3), "l": []any{int64(1), 1.0}}},
		{address{"Elm", 3}, map[string]any{"street": "Elm", "number": int64(3)}},
		{[]byte("hi"), "aGk="},
	} {
		key := fmt.Sprint("key", i)
		c.do(m, func(s *session.Session) { s.Set(key, v.set) })
		c.do(m, func(s *session.Session) {
			got, ok := s.Get(key)
			if !ok || !reflect.DeepEqual(got, v.want) {
				t.Errorf("%T %v: got %T %v, %t, want %T %v", v.set, v.set, got, got, ok, v.want, v.want)
			}
			s.Set(key, got) // what was read can be stored again
		})
		c.do(m, func(s *session.Session) {
			if got, _ := s.Get(key); !reflect.DeepEqual(got, v.want) {
				t.Errorf("%T %v, stored again: got %T %v, want %T %v", v.set, v.set, got, got, v.want, v.want)
			}
		})
	}
}

func TestDictionary(t *testing.T) {
	t.Parallel()
	m, c := server(t), newVisitor(t)
	color, size := session.Key[string]("color"), session.Key[int]("size")
	steps := []struct {
		name string
		do   func(s *session.Session) any
		want any // what do returns
		then string
	}{
		{"empty", func(s *session.Session) any { return s.Len() }, 0, nothing},
		{"set", func(s *session.Session) any { s.Set("color", "red"); size.Set(s, 3); return s.Len() }, 2, ": [color=red size=3]"},
		{"keys are sorted", func(s *session.Session) any {
			s.Set("a", 1)
			s.Set("", 0)
			return fmt.Sprintf("%q", s.Keys())
		}, `["" "a" "color" "size"]`, ": [=0 a=1 color=red size=3]"},
		{"or", func(s *session.Session) any { return color.Or(s, "none") + session.Key[string]("x").Or(s, "none") }, "rednone",
			": [=0 a=1 color=red size=3]"},
		{"pop", func(s *session.Session) any {
			v, ok := color.Pop(s)
			_, again := color.Pop(s)
			return fmt.Sprintf("%v %t %t", v, ok, again)
		}, "red true false", ": [=0 a=1 size=3]"},
		{"untyped pop", func(s *session.Session) any {
			v, ok := s.Pop("a")
			_, again := s.Pop("a")
			return fmt.Sprintf("%v %t %t", v, ok, again)
		}, "1 true false", ": [=0 size=3]"},
		{"delete", func(s *session.Session) any { s.Delete(""); s.Delete("absent"); size.Delete(s); return s.Len() }, 0, nothing},
		{"set after delete", func(s *session.Session) any { s.Delete("size"); size.Set(s, 4); return s.Len() }, 1, ": [size=4]"},
		{"delete after set", func(s *session.Session) any { s.Set("b", 1); s.Delete("b"); return s.Len() }, 1, ": [size=4]"},
		{"clear", func(s *session.Session) any {
			s.Set("c", 1)
			s.Clear()
			s.Set("d", 1)
			_, ok := size.Get(s)
			return fmt.Sprintf("%v %t", s.Keys(), ok)
		}, "[d] false", ": [d=1]"},
		{"clear alone", func(s *session.Session) any { s.Clear(); return s.Len() }, 0, nothing},
		{"after clear", func(s *session.Session) any { s.Set("e", nil); v, ok := s.Get("e"); return fmt.Sprintf("%v %t", v, ok) }, "<nil> true", ": [e=<nil>]"},
	}
	for _, step := range steps {
		c.do(m, func(s *session.Session) { check(t, step.name, step.do(s), step.want) })
		c.want([]*session.Manager{m}, step.name+", next request", step.then)
	}
}

// A struct that changed, or another type under the same name, is absent and an event; nothing fails.
func TestChangedTypesAreAbsent(t *testing.T) {
	t.Parallel()
	var events eventLog
	m := server(t, func(c *session.Config) { c.OnEvent = events.add })
	c := newVisitor(t)
	before := session.Key[map[string]string]("value")
	c.do(m, func(s *session.Session) { before.Set(s, map[string]string{"Number": "seven"}); s.Set("other", 1) })
	events.took()

	after := session.Key[struct{ Number int }]("value")
	c.do(m, func(s *session.Session) {
		if v, ok := after.Get(s); ok || v.Number != 0 {
			t.Errorf("got %v, %t, want an absent value", v, ok)
		}
		check(t, "Or", after.Or(s, struct{ Number int }{9}).Number, 9)
		if _, ok := after.Pop(s); ok {
			t.Error("Pop found a value of another type")
		}
		check(t, "Err", s.Err(), nil)
	})
	equal(t, "events", events.took(), []string{"undecodable", "undecodable", "undecodable"})
	c.do(m, func(s *session.Session) { before.Set(s, map[string]string{"Number": "seven"}) })
	c.do(m, func(s *session.Session) {
		after.Update(s, func(v struct{ Number int }) struct{ Number int } { v.Number++; return v })
	})
	c.want([]*session.Manager{m}, "after an Update that began anew", ": [other=1 value=map[Number:1]]")
}

func TestEventsOfChangedTypesNameTheKey(t *testing.T) {
	t.Parallel()
	var got session.Event
	m := server(t, func(c *session.Config) {
		c.OnEvent = func(_ context.Context, e session.Event) {
			if e.Kind == session.EventUndecodable {
				got = e
			}
		}
	})
	c := newVisitor(t)
	var handle string
	c.do(m, func(s *session.Session) { s.Set("pin", "hunter2"); handle = s.Info().Handle })
	c.do(m, func(s *session.Session) { session.Key[int]("pin").Get(s) })
	if got.Key != "pin" || got.Handle != handle || got.Err == nil || strings.Contains(got.Err.Error(), "hunter2") {
		t.Errorf("got event %+v, want the key, the handle and an error without the value", got)
	}
}

// Values are copies: what the program does to its own afterwards is not seen.
func TestValuesAreNotAliased(t *testing.T) {
	t.Parallel()
	m, c := server(t), newVisitor(t)
	key := session.Key[*basket]("basket")
	c.do(m, func(s *session.Session) {
		b := &basket{Items: []string{"tea"}, Prices: map[string]float64{"tea": 2}}
		key.Set(s, b)
		list := []any{"x"}
		s.Set("list", list)
		b.Items[0], b.Prices["tea"], list[0] = "gone", 99, "gone"

		got, _ := key.Get(s)
		check(t, "after changing what was set", got.Items[0]+fmt.Sprint(got.Prices), "teamap[tea:2]")
		got.Items[0] = "gone"
		any1, _ := s.Get("list")
		check(t, "untyped", fmt.Sprint(any1), "[x]")
		any1.([]any)[0] = "gone"

		got, _ = key.Get(s)
		check(t, "after changing what was read", got.Items[0], "tea")
		key.Update(s, func(b *basket) *basket { got = b; b.Items = append(b.Items, "milk"); return b })
		got.Items[0] = "gone"
		keys := s.Keys()
		keys[0] = "gone"
	})
	c.do(m, func(s *session.Session) {
		got, _ := key.Get(s)
		check(t, "next request", strings.Join(got.Items, "+"), "tea+milk")
		list, _ := s.Get("list")
		check(t, "next request, untyped", fmt.Sprint(list), "[x]")
	})
}

// The goroutines of one request share its Session.
func TestGoroutinesOfOneRequest(t *testing.T) {
	t.Parallel()
	const n = 32
	m, c := server(t), newVisitor(t)
	total := session.Key[int]("total")
	c.do(m, func(s *session.Session) { s.Set("before", 1) })
	c.do(m, func(s *session.Session) {
		var wg sync.WaitGroup
		for i := range n {
			wg.Go(func() {
				own := session.Key[int](fmt.Sprintf("key%02d", i))
				own.Set(s, i)
				total.Update(s, func(n int) int { return n + 1 })
				if v, ok := own.Get(s); !ok || v != i {
					t.Errorf("goroutine %d got %d, %t", i, v, ok)
				}
				if i%4 == 0 {
					if err := s.Save(t.Context()); err != nil {
						t.Error(err)
					}
				}
				if i%2 == 1 {
					own.Delete(s)
				}
				s.Keys()
				s.Info()
				s.Token()
				s.Principal()
				s.SetLabel(fmt.Sprint(i))
				total.Update(s, func(n int) int { return n + 1 })
			})
		}
		wg.Wait()
	})
	c.do(m, func(s *session.Session) {
		check(t, "values", s.Len(), 1+1+n/2)
		check(t, "total", total.Or(s, 0), 2*n)
	})
}

// A value that can't be encoded fails the request, and the log names the key alone.
func TestUnencodableValues(t *testing.T) {
	t.Parallel()
	loop := map[string]any{}
	loop["self"] = loop
	for name, value := range map[string]any{
		"function":   func() {},
		"channel":    make(chan int),
		"NaN":        math.NaN(),
		"infinity":   []float64{math.Inf(1)},
		"loop":       loop,
		"not UTF-8":  "hunter2\xff",
		"in a slice": []any{"hunter2", struct{ C chan int }{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var log bytes.Buffer
			var events eventLog
			m := server(t, func(c *session.Config) {
				c.Logger, c.OnEvent = slog.New(slog.NewTextHandler(&log, nil)), events.add
			})
			c := newVisitor(t)
			c.do(m, func(s *session.Session) { s.Set("before", 1) })
			events.took()
			res := c.try(m, func(s *session.Session) {
				s.Set("before", 2)
				s.Set("secretive", value)
				if s.Err() == nil {
					t.Error("Err is nil")
				}
				s.Set("after", 3)
			})
			check(t, "status", res.StatusCode, http.StatusInternalServerError)
			silent(t, "failed request", res)
			equal(t, "events", events.took(), []string{"failed"})
			if text := log.String() + body(t, res); !strings.Contains(log.String(), "secretive") || strings.Contains(text, "hunter2") {
				t.Errorf("got the log %q and the answer, want the key and no value", log.String())
			}
			c.want([]*session.Manager{m}, "after it", ": [before=1]")
		})
	}
}

func TestRefusedNames(t *testing.T) {
	t.Parallel()
	m := server(t)
	for _, name := range []string{"_permanent", "\xff"} {
		for call, change := range map[string]func(s *session.Session){
			"Set":    func(s *session.Session) { s.Set(name, true) },
			"Update": func(s *session.Session) { session.Key[bool](name).Update(s, func(bool) bool { return true }) },
		} {
			res := newVisitor(t).try(m, change)
			check(t, fmt.Sprintf("%s of %q", call, name), res.StatusCode, http.StatusInternalServerError)
		}
		newVisitor(t).do(m, func(s *session.Session) {
			if _, _, err := session.Key[bool](name).Take(t.Context(), s); err == nil {
				t.Errorf("Take of %q: got no error", name)
			}
		})
	}
}

// After the handler has returned, the session can still be used and saved by a goroutine that it started.
func TestSessionAfterTheHandler(t *testing.T) {
	t.Parallel()
	m, c := server(t), newVisitor(t)
	c.do(m, func(s *session.Session) { s.Set("n", 1) })
	var kept *session.Session
	c.do(m, func(s *session.Session) { kept = s })
	for i := range 50 { // other requests get sessions of their own
		newVisitor(t).do(m, func(s *session.Session) { s.Set("n", -i) })
	}
	kept.Set("later", true)
	is(t, "Save", kept.Save(t.Context()), nil)
	c.want([]*session.Manager{m}, "after a late save", ": [later=true n=1]")
}

func TestNamesOfAnyKind(t *testing.T) {
	t.Parallel()
	m, c := server(t), newVisitor(t)
	names := []string{"", " ", "\"", "\\", "\x00", "\n", "a.b", "ключ", "\U0001F36A", "<script>", "\u2028", strings.Repeat("k", 5000), "__proto__"}
	c.do(m, func(s *session.Session) {
		for i, n := range names {
			s.Set(n, i)
		}
	})
	c.do(m, func(s *session.Session) {
		for i, n := range names {
			if got, ok := s.Get(n); !ok || got != int64(i) {
				t.Errorf("name %q: got %v, %t, want %d", n, got, ok, i)
			}
		}
		slices.Sort(names)
		equal(t, "Keys", s.Keys(), names)
	})
}
