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
	"testing/synctest"
	"time"
	"unicode/utf8"
	"unsafe"

	"github.com/hipflask/session"
	"github.com/hipflask/session/store/memstore"
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
	roundTrip(t, basket{Items: []string{"tea"}, Prices: map[string]float64{"tea": 2}, Home: &address{Street: "Elm"},
		Since: time.Unix(1, 0).UTC()})
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
		{map[string]any{"f": 3.0, "i": 3, "l": []any{1, 1.0}},
			map[string]any{"f": 3.0, "i": int64(3), "l": []any{int64(1), 1.0}}},
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
		{"set", func(s *session.Session) any {
			s.Set("color", "red")
			size.Set(s, 3)
			return s.Len()
		}, 2, ": [color=red size=3]"},
		{"keys are sorted", func(s *session.Session) any {
			s.Set("a", 1)
			s.Set("", 0)
			return fmt.Sprintf("%q", s.Keys())
		}, `["" "a" "color" "size"]`, ": [=0 a=1 color=red size=3]"},
		{"or", func(s *session.Session) any {
			return color.Or(s, "none") + session.Key[string]("x").Or(s, "none")
		}, "rednone",
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
		{"delete", func(s *session.Session) any {
			s.Delete("")
			s.Delete("absent")
			size.Delete(s)
			return s.Len()
		}, 0, nothing},
		{"set after delete", func(s *session.Session) any {
			s.Delete("size")
			size.Set(s, 4)
			return s.Len()
		}, 1, ": [size=4]"},
		{"delete after set", func(s *session.Session) any {
			s.Set("b", 1)
			s.Delete("b")
			return s.Len()
		}, 1, ": [size=4]"},
		{"clear", func(s *session.Session) any {
			s.Set("c", 1)
			s.Clear()
			s.Set("d", 1)
			_, ok := size.Get(s)
			return fmt.Sprintf("%v %t", s.Keys(), ok)
		}, "[d] false", ": [d=1]"},
		{"clear alone", func(s *session.Session) any { s.Clear(); return s.Len() }, 0, nothing},
		{"after clear", func(s *session.Session) any {
			s.Set("e", nil)
			v, ok := s.Get("e")
			return fmt.Sprintf("%v %t", v, ok)
		}, "<nil> true", ": [e=<nil>]"},
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

// Text that is not UTF-8 fails the request wherever it is set, and is never altered.
func TestTextThatIsNotUTF8(t *testing.T) {
	t.Parallel()
	type profile struct {
		Name string
		Tags []string
	}
	const bad = "caf\xe9"
	for name, change := range map[string]func(*session.Session){
		"Set of a struct":     func(s *session.Session) { session.Key[profile]("p").Set(s, profile{Name: bad}) },
		"Set within a struct": func(s *session.Session) { s.Set("p", []*profile{{Tags: []string{"a", bad}}}) },
		"Update": func(s *session.Session) {
			session.Key[profile]("p").Update(s, func(p profile) profile { p.Tags = append(p.Tags, bad); return p })
		},
		"Update of a text": func(s *session.Session) {
			session.Key[string]("p").Update(s, func(string) string { return bad })
		},
		"Flash":                 func(s *session.Session) { s.Flash(bad) },
		"Flash with a category": func(s *session.Session) { s.Flash("saved", bad) },
		"Attribute": func(s *session.Session) {
			session.Attribute[profile]("p").Set(s, profile{Name: bad})
		},
		"PublicAttribute": func(s *session.Session) {
			session.PublicAttribute[profile]("p").Set(s, profile{Name: bad})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m, c := server(t), newVisitor(t)
			c.do(m, func(s *session.Session) { s.Set("before", 1) })
			res := c.try(m, func(s *session.Session) {
				change(s)
				if err := s.Err(); err == nil || !strings.Contains(err.Error(), "UTF-8") {
					t.Errorf("got error %v, want one that says UTF-8", err)
				}
			})
			check(t, "status", res.StatusCode, http.StatusInternalServerError)
			c.want([]*session.Manager{m}, "after it", ": [before=1]")
		})
	}
}

// Frameworks use the memory of a request's texts again for the next request (gofiber/fiber, valyala/fasthttp).
func TestTextsAreCopied(t *testing.T) {
	t.Parallel()
	var memory [][]byte
	text := func(s string) string {
		b := []byte(s)
		memory = append(memory, b)
		return unsafe.String(&b[0], len(b))
	}
	b := newBench(t)
	s, err := b.Load(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	s.Login(text("ann"))
	s.SetLabel(text("Firefox"))
	s.Flash(text("saved"), text("info"))
	s.Set(text("color"), text("green"))
	session.Key[int](text("visits")).Update(s, func(n int) int { return n + 1 })
	session.Attribute[string](text("example.com/a")).Set(s, text("kept"))
	session.PublicAttribute[string](text("example.com/p")).Set(s, text("shown"))
	scribble := func() {
		for _, m := range memory {
			for i := range m {
				m[i] = 'x'
			}
		}
	}
	scribble()
	if err := s.Save(t.Context()); err != nil {
		t.Fatal(err)
	}
	again, err := b.Load(t.Context(), s.Token())
	if err != nil {
		t.Fatal(err)
	}
	other, err := b.Load(t.Context(), s.Token())
	if err != nil {
		t.Fatal(err)
	}
	// A save that meets another one runs an Update again.
	again.Flash(text("twice"))
	session.Key[int](text("visits")).Update(again, func(n int) int { return n + 1 })
	again.Set(text("color"), text("blue")) // a name that is there already
	scribble()
	session.Key[int]("visits").Update(other, func(n int) int { return n + 1 })
	for _, s := range []*session.Session{other, again} {
		if err := s.Save(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if s, err = b.Load(t.Context(), s.Token()); err != nil {
		t.Fatal(err)
	}
	check(t, "contents", contents(s), "ann: [_flashes=[[info saved] [message twice]] color=blue visits=3]")
	check(t, "label", s.Info().Label, "Firefox")
	kept, _ := session.Attribute[string]("example.com/a").Get(s)
	shown, _ := session.PublicAttribute[string]("example.com/p").Get(s)
	check(t, "attributes", kept+" "+shown, "kept shown")
	session.Key[int](text("color")).Get(s)
	b.events.mu.Lock()
	last := b.events.events[len(b.events.events)-1]
	b.events.mu.Unlock()
	scribble()
	check(t, "the event's key", last.Key, "color")
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
			if text := log.String() + body(t, res); !strings.Contains(log.String(), "secretive") ||
				strings.Contains(text, "hunter2") {
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
	names := []string{"", " ", "\"", "\\", "\x00", "\n", "a.b", "ключ", "\U0001F36A", "<script>", "\u2028",
		strings.Repeat("k", 5000), "__proto__"}
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

// Token and handle are named when the ID is chosen, before anything is stored, and stay what they were.
func TestTokenIsNamedBeforeTheSave(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(s *session.Session){
		"first change": func(s *session.Session) { s.Set("a", 2) },
		"Login":        func(s *session.Session) { s.Login("ann") },
		"Renew":        (*session.Session).Renew,
		"persistent":   func(s *session.Session) { s.SetPersistent(true); s.Set("a", 1) },
		"again":        func(s *session.Session) { s.Logout(); s.Set("a", 3) },
	} {
		for _, exists := range []bool{false, true} {
			what := fmt.Sprintf("%s (a session before: %t)", name, exists)
			m, c := server(t), newVisitor(t)
			if exists {
				c.do(m, func(s *session.Session) { s.Set("a", 1) })
			}
			before := c.value()
			if name == "Renew" && !exists || name == "first change" && exists {
				continue
			}
			var token, handle string
			c.do(m, func(s *session.Session) {
				change(s)
				token, handle = s.Token(), s.Info().Handle
				if token == "" || handle == "" || token == before {
					t.Errorf("%s: got token %q and handle %q before the save", what, token, handle)
				}
				_, err := m.Load(t.Context(), token)
				is(t, what+": Load before the save", err, session.ErrEnded)
				is(t, what+": Save", s.Save(t.Context()), nil)
				check(t, what+": token after Save", s.Token(), token)
				check(t, what+": handle after Save", s.Info().Handle, handle)
			})
			check(t, what+": the cookie", c.value(), token)
			c.do(m, func(s *session.Session) {
				check(t, what+": token in the next request", s.Token(), token)
				check(t, what+": handle in the next request", s.Info().Handle, handle)
			})
		}
	}
}

func TestNoTokenWithoutASession(t *testing.T) {
	t.Parallel()
	m, c := server(t), newVisitor(t)
	for name, change := range map[string]func(s *session.Session){
		"untouched":      func(*session.Session) {},
		"label":          func(s *session.Session) { s.SetLabel("x") },
		"persistent":     func(s *session.Session) { s.SetPersistent(true) },
		"renewed":        (*session.Session).Renew,
		"set and delete": func(s *session.Session) { s.Set("a", 1); s.Delete("a") },
	} {
		silent(t, name, c.do(m, func(s *session.Session) {
			change(s)
			check(t, name+": token", s.Token(), "")
			check(t, name+": handle", s.Info().Handle, "")
		}))
	}
	c.do(m, func(s *session.Session) { s.Login("ann") })
	c.do(m, func(s *session.Session) {
		s.Logout()
		check(t, "after Logout: token", s.Token(), "")
		check(t, "after Logout: handle", s.Info().Handle, "")
	})
}

// Each login has a handle of its own; Renew keeps it, as it keeps the time of creation.
func TestInfo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := server(t, func(c *session.Config) { c.IdleTimeout, c.Lifetime = time.Hour, 10*time.Hour })
		c := newVisitor(t)
		var infos []session.Info
		step := func(change func(s *session.Session)) {
			t.Helper()
			time.Sleep(10 * time.Minute)
			c.do(m, change)
			c.copy().do(m, func(s *session.Session) { infos = append(infos, s.Info()) })
		}
		start := time.Now()
		step(func(s *session.Session) { s.Set("a", 1) })
		step((*session.Session).Renew)
		step(func(s *session.Session) { s.Login("ann"); s.SetLabel("Firefox") })
		step(func(s *session.Session) { s.Renew(); s.Set("a", 2) })
		step(func(s *session.Session) { s.Login("ann") })
		step(func(s *session.Session) { s.Login("ben") })

		same := func(i, j int) bool { return infos[i].Handle == infos[j].Handle }
		check(t, "Renew keeps the handle", same(0, 1) && same(2, 3), true)
		check(t, "Login gives a new one", same(1, 2) || same(3, 4) || same(4, 5) || same(2, 4), false)
		for i, want := range []struct {
			principal, label string
			created          int // after how many steps
		}{{"", "", 1}, {"", "", 1}, {"ann", "Firefox", 3}, {"ann", "Firefox", 3}, {"ann", "Firefox", 5},
			{"ben", "", 6}} {
			what := fmt.Sprint("step ", i+1)
			check(t, what+": principal", infos[i].Principal, want.principal)
			check(t, what+": label", infos[i].Label, want.label)
			check(t, what+": created", infos[i].CreatedAt.Sub(start), time.Duration(want.created)*10*time.Minute)
			check(t, what+": last seen", infos[i].LastSeenAt.Sub(start), time.Duration(i+1)*10*time.Minute)
			check(t, what+": expires", infos[i].ExpiresAt.Sub(start), time.Duration(i+1)*10*time.Minute+time.Hour)
		}
		m.Close()
	})
}

func TestIsNew(t *testing.T) {
	t.Parallel()
	m, c := server(t), newVisitor(t)
	isNew := func(what string, want bool) {
		t.Helper()
		c.copy().do(m, func(s *session.Session) {
			check(t, what, s.IsNew(), want)
			s.Set("x", 1)
			check(t, what+", after a change", s.IsNew(), want)
		})
	}
	isNew("no cookie", true)
	c.do(m, func(s *session.Session) { s.Login("ann") })
	isNew("logged in", false)
	old := c.copy()
	c.do(m, (*session.Session).Renew)
	isNew("renewed", false)
	renewed := c
	c = old
	isNew("renewed, the old cookie", false)
	c = renewed
	last := c.copy()
	c.do(m, (*session.Session).Logout)
	isNew("logged out", true)
	c = last
	isNew("logged out, the old cookie", true)
	c.cookie.Value = "junk"
	isNew("forged", true)
}

func TestLabels(t *testing.T) {
	t.Parallel()
	for set, want := range map[string]string{
		"Firefox on Windows":                   "Firefox on Windows",
		strings.Repeat("x", 256):               strings.Repeat("x", 256),
		strings.Repeat("x", 300):               strings.Repeat("x", 256),
		strings.Repeat("é", 200):               strings.Repeat("é", 128),
		"x" + strings.Repeat("\U0001F36A", 70): "x" + strings.Repeat("\U0001F36A", 63),
		"a\x00b":                               "a\uFFFDb",
		"a\xffb":                               "a\uFFFDb",
		strings.Repeat("\xffx", 200):           strings.Repeat("\uFFFDx", 64),
		"":                                     "",
	} {
		m, c := server(t), newVisitor(t)
		c.do(m, func(s *session.Session) {
			s.SetLabel(set)
			check(t, "label, same request", s.Info().Label, want)
			s.Login("ann")
		})
		for i, err := range m.Sessions(t.Context(), "ann") {
			is(t, "Sessions", err, nil)
			check(t, "label, in the list", i.Label, want)
			check(t, "valid", utf8.ValidString(i.Label) && len(i.Label) <= 256, true)
		}
		c.do(m, func(s *session.Session) { check(t, "label, next request", s.Info().Label, want) })
	}
}

func TestLabelsLife(t *testing.T) {
	t.Parallel()
	ms, c := servers(t, 2), newVisitor(t)
	label := func(what, want string) {
		t.Helper()
		c.copy().do(ms[1], func(s *session.Session) { check(t, what, s.Info().Label, want) })
	}
	silent(t, "a label alone", c.do(ms[0], func(s *session.Session) { s.SetLabel("one") }))
	c.do(ms[0], func(s *session.Session) { s.SetLabel("one"); s.Set("a", 1) })
	label("with a value", "one")
	c.do(ms[0], func(s *session.Session) { s.Renew() })
	label("renewed", "one")
	c.do(ms[0], func(s *session.Session) { s.SetLabel("two"); s.Login("ann") })
	label("logged in", "two")
	slow := c.start(ms[0], func(v *visit, s *session.Session) { s.SetLabel("three"); v.pause() })
	c.do(ms[1], func(s *session.Session) { s.Set("b", 1) })
	slow.finish()
	label("set by a request that met another", "three")
	c.do(ms[0], func(s *session.Session) { s.Clear() })
	label("cleared", "three")
	c.do(ms[0], func(s *session.Session) { s.SetLabel("") })
	label("taken away", "")
	c.do(ms[0], func(s *session.Session) { s.SetLabel("four") })
	c.do(ms[0], func(s *session.Session) { s.Login("ben") })
	label("another user", "")
}

// maxAge returns the Max-Age of an answer's only cookie.
func maxAge(t *testing.T, res *http.Response) time.Duration {
	t.Helper()
	cookies := res.Cookies()
	if len(cookies) != 1 {
		t.Fatalf("got %d cookies, want 1", len(cookies))
	}
	return time.Duration(cookies[0].MaxAge) * time.Second
}

const day = 24 * time.Hour

// "Remember me": the cookie outlives the browser for as long as the session lives at most.
func TestPersistent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m, c := server(t), newVisitor(t)
		check(t, "Login", maxAge(t, c.do(m, func(s *session.Session) { s.Login("ann") })), 0)
		silent(t, "SetPersistent(false), as it is", c.do(m, func(s *session.Session) { s.SetPersistent(false) }))
		session1 := c.value()

		check(t, "SetPersistent on a session",
			maxAge(t, c.do(m, func(s *session.Session) { s.SetPersistent(true) })), 30*day)
		if c.value() == session1 {
			t.Error("SetPersistent did not renew the ID")
		}
		silent(t, "SetPersistent(true), as it is", c.do(m, func(s *session.Session) { s.SetPersistent(true) }))
		time.Sleep(10 * day)
		silent(t, "a change", c.do(m, func(s *session.Session) { s.Set("a", 1) }))
		check(t, "Renew later", maxAge(t, c.do(m, (*session.Session).Renew)), 20*day)
		check(t, "Login again", maxAge(t, c.do(m, func(s *session.Session) { s.Login("ann") })), 30*day)
		check(t, "another user", maxAge(t, c.do(m, func(s *session.Session) { s.Login("ben") })), 0)
		check(t, "Login and remember me",
			maxAge(t, c.do(m, func(s *session.Session) { s.Login("ann"); s.SetPersistent(true) })), 30*day)
		check(t, "remember me and Login",
			maxAge(t, c.do(m, func(s *session.Session) { s.SetPersistent(true); s.Login("ann") })), 30*day)
		c.do(m, func(s *session.Session) { s.Clear(); s.Set("b", 1) })
		check(t, "Clear keeps it", maxAge(t, c.do(m, (*session.Session).Renew)), 30*day)
		check(t, "not any more", maxAge(t, c.do(m, func(s *session.Session) { s.SetPersistent(false) })), 0)
		c.want([]*session.Manager{m}, "values", "ann: [b=1]")
		m.Close()
	})
}

func TestPersistentByDefault(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := server(t, func(c *session.Config) {
			c.Cookie.Persistent, c.Lifetime, c.IdleTimeout = true, 500*day, time.Hour
		})
		c := newVisitor(t)
		// browsers' bound
		check(t, "first change", maxAge(t, c.do(m, func(s *session.Session) { s.Set("a", 1) })), 400*day)
		time.Sleep(300 * day)
		check(t, "before the cookie runs out", maxAge(t, c.do(m, read)), 200*day)
		c.want([]*session.Manager{m}, "not used for long", ": [a=1]")
		check(t, "Renew later", maxAge(t, c.do(m, (*session.Session).Renew)), 200*day)
		check(t, "not this one", maxAge(t, c.do(m, func(s *session.Session) { s.SetPersistent(false) })), 0)
		check(t, "still not", maxAge(t, c.do(m, func(s *session.Session) { s.Login("ann") })), 0)
		check(t, "another user", maxAge(t, c.do(m, func(s *session.Session) { s.Login("ben") })), 400*day)
		other := newVisitor(t)
		check(t, "not from the beginning",
			maxAge(t, other.do(m, func(s *session.Session) { s.SetPersistent(false); s.Set("a", 1) })), 0)
		check(t, "and after Renew", maxAge(t, other.do(m, (*session.Session).Renew)), 0)
		m.Close()
	})
}

// What a session is by default is stored: it stays when the default changes.
func TestPersistentByAFormerDefault(t *testing.T) {
	t.Parallel()
	mem, c := memstore.New(nil), newVisitor(t)
	before := server(t, func(c *session.Config) { c.Store, c.Cookie.Persistent = mem, true })
	after := server(t, func(c *session.Config) { c.Store = mem })
	c.do(before, func(s *session.Session) { s.Set("a", 1) })
	check(t, "Renew under the new default", maxAge(t, c.do(after, (*session.Session).Renew)) > 29*day, true)
}

// Whether a session is persistent is no value of the application.
func TestPersistenceIsNoValue(t *testing.T) {
	t.Parallel()
	m, c := server(t), newVisitor(t)
	c.do(m, func(s *session.Session) {
		s.SetPersistent(true)
		s.Set("a", 1)
		check(t, "Len", s.Len(), 1)
		check(t, "Keys", fmt.Sprint(s.Keys()), "[a]")
	})
	c.do(m, func(s *session.Session) {
		s.Clear()
		check(t, "Len after Clear", s.Len(), 0)
	})
}
