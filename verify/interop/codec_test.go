package interop

import (
	"flag"
	"math"
	"math/big"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/hipflask/session"
	"github.com/hipflask/session/flask"
	"github.com/hipflask/session/store"
)

var sessions = flag.Int("sessions", 20_000, "random sessions for the differential test, half of them made by each side")

const secret = "a secret of both, with ünïcode"

// TestRandomSessions sends random sessions both ways. What one side writes the other reads as the same values, which it
// writes as the same text, to the byte.
func TestRandomSessions(t *testing.T) {
	t.Parallel()
	codec, err := flask.Cookie([]string{secret}, "session")
	if err != nil {
		t.Fatal(err)
	}
	randomSessions(t, start(t, nil, "codec.py", secret), codec, *sessions)
}

// randomSessions sends half of n sessions each way.
func randomSessions(t *testing.T, py *child, codec session.Codec, n int) {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for i := range n / 2 {
		made := py.ask(map[string]any{"op": "make", "seed": seed + uint64(i)})
		if got, err := rewrite(codec, *made.Cookie); err != nil || got != *made.Text {
			t.Fatalf("made by Flask, seed %d:\n got %s, %v\nwant %s\ncookie %s", seed+uint64(i), got,
				err, *made.Text, *made.Cookie)
		}
		members := []session.Member{}
		for name, value := range random(r, 3, 1+r.IntN(5)) {
			data, err := codec.Serializer().Marshal(value)
			if err != nil {
				t.Fatalf("%#v: %v", value, err)
			}
			members = append(members, session.Member{Name: name, Value: data})
		}
		text := join(t, codec, members)
		cookie, err := codec.Encode(store.Record{Data: []byte(text)})
		if err != nil {
			t.Fatal(err)
		}
		read := py.ask(map[string]any{"op": "read", "cookie": cookie})
		if read.Text == nil || *read.Text != text {
			t.Fatalf("made by Go:\n want %s\n Flask has %v", text, read.Text)
		}
	}
}

// rewrite reads a cookie and writes its values anew.
func rewrite(codec session.Codec, cookie string) (string, error) {
	r, err := codec.Decode(cookie)
	if err != nil {
		return "", err
	}
	s := codec.Serializer()
	members, err := s.Split(r.Data)
	if err != nil {
		return "", err
	}
	for i, m := range members {
		var value any
		if err := s.Unmarshal(m.Value, &value); err != nil {
			return "", err
		}
		if members[i].Value, err = s.Marshal(value); err != nil {
			return "", err
		}
	}
	text, err := s.Join(members)
	return string(text), err
}

// join puts a document together the way the library does, sorted.
func join(t *testing.T, codec session.Codec, members []session.Member) string {
	t.Helper()
	for i := range members {
		for j := i; j > 0 && members[j].Name < members[j-1].Name; j-- {
			members[j], members[j-1] = members[j-1], members[j]
		}
	}
	text, err := codec.Serializer().Join(members)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

var names = []string{" t", " b", " m", " u", " d", " di", " t__", " x", "", "a", "_permanent", "_flashes"}

func text(r *rand.Rand) string {
	alphabets := [][]rune{[]rune("abc XYZ09"), []rune("\"\\/\b\f\n\r\t\x00\x1f\x7f"), []rune("äéßøπжあ漢€"),
		[]rune("\U0001f600\U0001f36a\U00010000\U0010ffff"), []rune(" <>&'")}
	var b []rune
	for range []int{0, 1, 3, 10, 60}[r.IntN(5)] {
		a := alphabets[r.IntN(len(alphabets))]
		b = append(b, a[r.IntN(len(a))])
	}
	return string(b)
}

func name(r *rand.Rand) string {
	if r.IntN(2) == 0 {
		return names[r.IntN(len(names))]
	}
	return text(r)
}

func random(r *rand.Rand, depth, n int) map[string]any {
	m := map[string]any{}
	for range n {
		m[name(r)] = value(r, depth)
	}
	return m
}

func value(r *rand.Rand, depth int) any {
	kinds := 14
	if depth == 0 {
		kinds = 11
	}
	switch r.IntN(kinds) {
	case 0:
		return nil
	case 1:
		return r.IntN(2) == 0
	case 2:
		return int64(r.Uint64())
	case 3:
		return r.IntN(21) - 10
	case 4:
		return new(big.Int).Lsh(big.NewInt(r.Int64()-r.Int64()), uint(r.IntN(80)))
	case 5:
		f := math.Float64frombits(r.Uint64())
		if math.IsNaN(f) {
			return 0.5
		}
		return f
	case 6:
		return float64(r.IntN(2000)-1000) / []float64{1, 10, 3}[r.IntN(3)]
	case 7:
		return text(r)
	case 8:
		b := make([]byte, r.IntN(5))
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		return b
	case 9:
		return flask.Markup(text(r))
	case 10:
		if r.IntN(2) == 0 {
			return flask.UUID{byte(r.Uint32()), 15: byte(r.Uint32())}
		}
		return time.Date(100, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(r.Int64N(9_000_000_000)) * time.Second)
	case 11:
		return random(r, depth-1, r.IntN(4))
	case 12:
		return flask.Tuple(list(r, depth))
	}
	return list(r, depth)
}

func list(r *rand.Rand, depth int) []any {
	l := []any{}
	for range r.IntN(4) {
		l = append(l, value(r, depth-1))
	}
	return l
}
