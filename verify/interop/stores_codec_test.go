package interop

import (
	"bytes"
	"encoding/json"
	"flag"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hipflask/session"
	"github.com/hipflask/session/flask"
)

const fewDocuments = 3000

var documents = flag.Int("documents", fewDocuments,
	"random documents of Flask-Session's formats for the differential tests, half of them made by each side")

var forms = []struct {
	name       string
	serializer session.Serializer
}{{"msgpack", flask.Msgpack}, {"json", flask.JSON}, {"pickle", flask.Pickle}}

const batch = 50

type judged struct {
	Docs [][]byte
	Bad  *string
}

func (c *child) judge(request map[string]any) (j judged) {
	c.t.Helper()
	if err := c.in.Encode(request); err != nil {
		c.t.Fatalf("%v", err)
	}
	if err := json.Unmarshal(c.line(), &j); err != nil {
		c.t.Fatalf("%v", err)
	}
	if j.Bad != nil {
		c.t.Fatalf("%v of %v: %s", request["op"], request["form"], *j.Bad)
	}
	return j
}

// TestDocumentsMadeByPython: what msgspec and pickle write is read and written anew by every serializer that has to
// read it, and is then what Python would have made of it. In its own form msgpack keeps every byte.
func TestDocumentsMadeByPython(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano() >> 20)
	t.Logf("seed %d", seed)
	for _, from := range forms {
		t.Run(from.name, func(t *testing.T) {
			t.Parallel()
			py := start(t, nil, "stores_codec.py")
			refused, judged := 0, 0
			for i := range uint64(max(1, *documents/2/len(forms)/batch)) {
				s := seed + i*batch
				made := py.judge(map[string]any{"op": "make", "form": from.name, "seed": s, "n": batch})
				for _, to := range forms {
					if to.name == "pickle" && from.name != "pickle" {
						continue // cachelib's files never held anything else
					}
					docs := make([][]byte, len(made.Docs))
					for k, doc := range made.Docs {
						var err error
						docs[k], err = again(to.serializer, doc)
						if err == nil {
							continue
						}
						if docs[k] = nil; from.name == to.name {
							t.Fatalf("%s, seed %d: %v: %x", from.name, s+uint64(k), err, doc)
						}
						refused++ // what the other form can't hold
					}
					py.judge(map[string]any{"op": "judge", "form": from.name, "to": to.name, "seed": s, "docs": docs})
					judged += len(docs)
				}
			}
			if refused > judged/2 {
				t.Errorf("%d of %d documents could not be converted", refused, judged)
			}
		})
	}
}

// TestDamagedDocuments: of bytes that are nearly a document, Go takes what Python takes, as the same values, and
// nothing else. (Of pickles it takes less, since Python does not write all that it reads.)
func TestDamagedDocuments(t *testing.T) {
	t.Parallel()
	seed := uint64(1) // always the same few, as a difference says nothing about the change that is tested
	if *documents > fewDocuments {
		seed = uint64(time.Now().UnixNano() >> 20)
	}
	t.Logf("seed %d", seed)
	for _, form := range forms {
		t.Run(form.name, func(t *testing.T) {
			t.Parallel()
			py := start(t, nil, "stores_codec.py")
			taken := 0
			for i := range uint64(max(1, *documents/len(forms)/batch)) {
				made := py.judge(map[string]any{"op": "mutate", "form": form.name, "seed": seed + i*batch, "n": batch})
				// What has become another form is read as that one.
				docs := slices.DeleteFunc(made.Docs, func(doc []byte) bool { return firstForm(doc) != form.name })
				read := make([][]byte, len(docs))
				for k, doc := range docs {
					if back, err := again(form.serializer, doc); err == nil &&
						!(form.name == "pickle" && hasObjects(doc)) {
						read[k] = back
						taken++
					}
				}
				py.judge(map[string]any{"op": "compare", "form": form.name, "docs": docs, "read": read})
			}
			if taken == 0 {
				t.Error("no damaged document was taken: the damage is too large to test anything")
			}
		})
	}
}

// hasObjects reports whether a pickle has values of which Go knows nothing: it keeps them, also those of a class whose
// name was damaged, which Python fails to import.
func hasObjects(doc []byte) bool {
	members, err := flask.Pickle.Split(doc)
	return err != nil || slices.ContainsFunc(members, func(m session.Member) bool {
		var v any
		return flask.Pickle.Unmarshal(m.Value, &v) != nil
	})
}

// firstForm tells the formats apart as Flask-Session's documents are.
func firstForm(doc []byte) string {
	switch {
	case len(doc) == 0:
		return ""
	case doc[0] == '{':
		return "json"
	case doc[0] == 0x80 && len(doc) > 1:
		return "pickle"
	}
	return "msgpack"
}

// again reads every value of a document and writes it anew; what Go has no type for is kept, as the library does.
func again(s session.Serializer, doc []byte) ([]byte, error) {
	members, err := s.Split(doc)
	if err != nil {
		return nil, err
	}
	for i, m := range members {
		var v any
		if s.Unmarshal(m.Value, &v) != nil {
			continue
		}
		if members[i].Value, err = s.Marshal(v); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(members, func(a, b session.Member) int { return strings.Compare(a.Name, b.Name) })
	return s.Join(members)
}

// TestDocumentsMadeByGo: what Go writes Python reads and writes as the same again: to the byte, where it has one form.
func TestDocumentsMadeByGo(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	for _, form := range forms {
		t.Run(form.name, func(t *testing.T) {
			t.Parallel()
			py := start(t, nil, "stores_codec.py")
			r := rand.New(rand.NewPCG(seed, 0))
			for range max(1, *documents/2/len(forms)/batch) {
				var docs [][]byte
				for len(docs) < batch {
					members := []session.Member{}
					for name, v := range random(r, 3, 1+r.IntN(5)) {
						data, err := form.serializer.Marshal(v)
						if err != nil {
							continue // such as an integer that msgpack does not hold
						}
						members = append(members, session.Member{Name: name, Value: data})
					}
					slices.SortFunc(members, func(a, b session.Member) int { return strings.Compare(a.Name, b.Name) })
					doc, err := form.serializer.Join(members)
					if err != nil {
						t.Fatal(err)
					}
					docs = append(docs, doc)
				}
				back := py.judge(map[string]any{"op": "again", "form": form.name, "seed": r.Uint32(), "docs": docs})
				for i, doc := range back.Docs {
					var err error
					if form.name == "pickle" {
						if doc, err = again(form.serializer, doc); err != nil {
							t.Fatal(err)
						}
					}
					if !bytes.Equal(doc, docs[i]) {
						t.Fatalf("Go wrote\n%q, Python\n%q", docs[i], doc)
					}
				}
			}
		})
	}
}
