package steps

import (
	"context"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"time"

	"github.com/hipflask/session"
	"github.com/hipflask/session/flask"
	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/filestore"
	"github.com/hipflask/session/store/memstore"
)

// Key is the secret key of everything here.
const Key = "Ax8fPz5q0vVwQmJd2uRk7sTn"

// A Parser does all that a request does with bytes that come from outside.
type Parser struct {
	Name string

	// Prepare does what is not to be counted, and returns what is.
	Prepare func(data []byte) (parse func())

	// PerByte and Free are the bound: a parser may take Free steps, and PerByte more for each byte.
	PerByte, Free int
}

// Bound returns how many steps the parser may take for so many bytes.
func (p *Parser) Bound(bytes int) uint64 { return uint64(p.Free) + uint64(p.PerByte)*uint64(bytes) }

// Parsers are those of the core module. The bounds are about twice what the worst shape of TestStepsAreLinear takes. A
// pickle may repeat itself a little, so the Free steps of its parsers are those of its budget.
var Parsers = []*Parser{
	{"tagged JSON", document(flask.TaggedJSON), 250, 100_000},
	{"JSON", document(session.JSON), 250, 100_000},
	{"Flask-Session's JSON", document(flask.JSON), 250, 100_000},
	{"msgpack", document(flask.Msgpack), 300, 100_000},
	{"pickle", document(flask.Pickle), 400, 8_000_000},
	{"pickle as msgpack", document(flask.Msgpack), 400, 8_000_000},
	{"Flask's cookie", codec(flask.Cookie), 250, 100_000},
	{"encrypted cookie", codec(session.EncryptedCookie), 250, 100_000},
	{"cookie header", header(session.Config{Store: memstore.New(nil)}), 20, 100_000},
	{"header of Flask's cookies", header(session.Config{CookieCodec: flask.Cookie}), 20, 100_000},
	{"record in a file", recordFile, 20, 100_000},
}

// ByName returns a parser, or nil.
func ByName(name string) *Parser {
	for _, p := range Parsers {
		if p.Name == name {
			return p
		}
	}
	return nil
}

// document takes a document apart and decodes each value, once untyped and once into a type that needs the JSON form.
func document(s session.Serializer) func([]byte) func() {
	return func(data []byte) func() { return func() { split(s, data) } }
}

func split(s session.Serializer, data []byte) {
	members, err := s.Split(data)
	if err != nil {
		return
	}
	for _, m := range members {
		var untyped any
		var typed map[string]string
		s.Unmarshal(m.Value, &untyped)
		s.Unmarshal(m.Value, &typed)
	}
}

// codec decodes a cookie whose session is data.
func codec(make session.CookieCodec) func([]byte) func() {
	c, err := make([]string{Key}, "session")
	return func(data []byte) func() {
		value := must(must(c, err).Encode(store.Record{CreatedAt: time.Now(), ExpiresAt: time.Now().Add(time.Hour),
			Data: data}))
		return func() {
			if r, err := c.Decode(value); err == nil {
				split(c.Serializer(), r.Data)
			}
		}
	}
}

// header serves a request whose header Cookie is data.
func header(config session.Config) func([]byte) func() {
	config.SecretKey, config.Cookie.Name, config.InsecureHTTP = Key, "session", true
	manager, err := session.New(config)
	return func(data []byte) func() {
		handler := must(manager, err).Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			for _, key := range session.From(r).Keys() {
				session.From(r).Get(key)
			}
		}))
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Cookie", string(data))
		return func() { handler.ServeHTTP(httptest.NewRecorder(), r) }
	}
}

// recordFile loads a record whose file is data, and lists the store.
func recordFile(data []byte) func() {
	folder := must(os.MkdirTemp("", "steps"))
	files := must(filestore.Open(folder, nil))
	key := "0123456789abcdef0123456789abcdef"
	check(files.Create(context.Background(), store.Record{Key: key, Version: 1, Principal: "ann",
		ExpiresAt: time.Now().Add(time.Hour), Data: []byte("{}")}))
	check(filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if info, err := entry.Info(); err == nil && info.Mode().IsRegular() && info.Size() > 0 {
			return os.WriteFile(path, data, 0o600)
		}
		return err
	}))
	return func() {
		files.Load(context.Background(), key)
		for range files.Principal(context.Background(), "ann") {
		}
		files.Close()
		os.RemoveAll(folder)
	}
}

func must[T any](v T, err error) T {
	check(err)
	return v
}

func check(err error) {
	if err != nil {
		panic(fmt.Sprintf("steps: %v", err))
	}
}
