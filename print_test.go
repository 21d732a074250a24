package session_test

import (
	"bytes"
	"context"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/hipflask/session"
	"github.com/hipflask/session/flask"
	"github.com/hipflask/session/sessiontest"
	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/memstore"
)

// A sample is a value of an exported type that was given secrets. If bare is true, it is a struct whose fields the
// application sets, so that package fmt reads them wherever it can't call a method: in an unexported field.
type sample struct {
	value any
	bare  bool
}

// printed are the types that are given secrets, by the name of their package and their own.
var printed = map[string]bool{
	"session.Config": true, "session.Manager": true, "session.Session": true, "session.Info": true,
	"session.Event": true,
	"session.Codec": true, "session.IDFormat": true, "session.CookieCodec": true, "session.Policy": true,
	"flask.Adopter": true, "flask.AdopterOptions": true, "flask.CookieAdopter": true,
	"flask.CookieAdopterOptions": true, "flask.CSRF": true, "flask.Signer": true, "flask.Options": true,
	"sessiontest.FailStore": true,
}

// secretless are the other exported types, with the reason why they aren't printed here.
var secretless = map[string]string{
	"session.Auth": "what lists show", "admin.Options": "title and limits", "summary.Bucket": "counts",
	"summary.Summary":   "counts",
	"session.Attribute": "a name", "session.Key": "a name", "session.PublicAttribute": "a name",
	"session.Cookie":    "attributes",
	"session.EventKind": "a constant", "session.Reason": "a constant", "session.Verdict": "a constant",
	"session.Trace": "functions", "session.LoadFigures": "counts", "session.SaveFigures": "counts",
	"session.SaveKind": "a constant",
	"session.Outcome":  "a constant", "session.Interceptor": "an interface of the application",
	"session.Serializer":   "has no state",
	"session.FlashMessage": "the application's own value", "session.Member": "the application's own value",
	"flask.Decimal": "the application's own value", "flask.Markup": "the application's own value",
	"flask.Naive": "the application's own value",
	"flask.Set":   "the application's own value", "flask.Tuple": "the application's own value",
	"flask.UUID":       "the application's own value",
	"flask.Derivation": "a constant", "flaskfiles.Hash": "a constant", "flask.Tag": "a name and functions",
	"flaskfiles.Options": "a prefix and a mode", "flaskfiles.Store": "a path", "flasksql.Dialect": "SQL",
	"flasksql.Options": "names",
	"flasksql.Store":   "a database handle of the application", "flasksession.Store": "a Medium of the application",
	"flasksession.Medium": "an interface of the application's",
	"flasksession.Lister": "an interface of the application's",
	"flasksession.Entry":  "a record", "flasksession.Value": "a record", "layouttest.Backend": "functions of a test",
	"filestore.Options": "sizes", "filestore.Store": "a path", "memstore.Options": "sizes",
	"memstore.Store":  "behind the Manager and FailStore",
	"sqlstore.Client": "a database handle of the application", "sqlstore.Conn": "an interface",
	"sqlstore.DB":        "an interface",
	"sqlstore.DBOptions": "a database handle of the application", "sqlstore.Dialect": "SQL",
	"sqlstore.Options": "names",
	"sqlstore.Store":   "a database handle of the application",
	"store.Record":     "a record, for implementers of stores", "store.ExpiredError": "a reason",
	"store.Kind":  "a constant",
	"guard.Guard": "a Manager of the application, which prints nothing", "store.Store": "an interface",
	"store.Lister": "an interface", "store.Sweeper": "an interface", "store.Evicter": "an interface",
	"store.StaleLoader": "an interface", "store.BatchReplacer": "an interface",
	"storetest.FaultCounts": "counts", "storetest.Faults": "probabilities",
	"storetest.Faulty": "a store of the application", "storetest.Option": "a function",

	// Of the other modules. What storeurl opens is printed by its TestPasswordsAreNotPrinted.
	"dbsc.Server": "a Manager of the application, which prints nothing", "dbsc.Options": "names and times",
	"dbsc.Policy": "a constant", "dbsc.EventKind": "a constant", "dbsc.Reason": "a constant",
	"dbsc.Event":      "a kind, a reason, a handle and a user",
	"devices.Options": "texts and a template", "devices.Texts": "texts", "devices.View": "what the page shows",
	"devices.Device":      "what the page shows",
	"otelsession.Options": "providers of the application",
	"redisstore.Options":  "a prefix and numbers", "redisstore.Store": "printed by storeurl",
	"pgstore.Options": "names", "pgstore.Store": "printed by storeurl",
	"mysqlstore.Options": "names", "mysqlstore.Store": "printed by storeurl",
	"sqlitestore.Options": "names", "sqlitestore.Store": "a path",
	"memcachedstore.Options": "a prefix", "memcachedstore.Store": "addresses, without a password",
	"memcachedstore.Client": "addresses, without a password",
	"flaskredis.Options":    "a prefix", "flaskredis.Store": "a client of the application, or redisstore's",
	"flaskmemcached.Options": "a prefix", "flaskmemcached.Store": "addresses, without a password",
	"storeurl.Store": "an interface",
}

// Every exported type of all modules' public packages is either printed by TestNothingIsPrinted or known to hold no
// secret.
func TestEveryTypeIsPrinted(t *testing.T) {
	t.Parallel()
	found := 0
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if slices.Contains([]string{"internal", "examples", "cmd", "tools", "verify", "testdata"}, d.Name()) ||
				path != "." && strings.HasPrefix(d.Name(), ".") {
				return fs.SkipDir
			}
			return nil
		}
		if filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, decl := range f.Decls {
			g, ok := decl.(*ast.GenDecl)
			if !ok || g.Tok != token.TYPE || f.Name.Name == "main" {
				continue
			}
			for _, spec := range g.Specs {
				name := f.Name.Name + "." + spec.(*ast.TypeSpec).Name.Name
				if !ast.IsExported(spec.(*ast.TypeSpec).Name.Name) {
					continue
				}
				found++
				if !printed[name] && secretless[name] == "" {
					t.Errorf("%s: give TestNothingIsPrinted a value of it, or say in secretless why "+
						"it holds no secret", name)
				}
			}
		}
		return nil
	})
	if err != nil || found < 40 {
		t.Errorf("got %d types and error %v, want 40 or more", found, err)
	}
}

// No verb of fmt, no handler of log/slog and not encoding/json prints a key, a derived key, a token or a value, however
// the value is wrapped.
func TestNothingIsPrinted(t *testing.T) {
	t.Parallel()
	secrets := map[string]string{plantedKey: "SecretKey", plantedFallback: "fallback key", plantedValue: "value"}
	samples := printSamples(t, secrets)
	look := newLookout(secrets)
	for name, s := range samples {
		t.Run(name, func(t *testing.T) {
			for form, v := range wrapped(s) {
				look.at(t, form, v, s.bare)
			}
		})
	}
}

func printSamples(t *testing.T, secrets map[string]string) map[string]sample {
	t.Helper()
	for _, k := range []string{plantedKey, plantedFallback} {
		for _, label := range []string{"id __Host-session", "id __Host-sid", "id x", "encrypted cookie",
			"folder", "app purpose"} {
			sub, err := hkdf.Key(sha256.New, []byte(k), nil, "hipflask v1 "+label, sha256.Size)
			if err != nil {
				t.Fatal(err)
			}
			secrets[string(sub)] = "subkey " + label
		}
		for _, salt := range []string{"flask-session", "cookie-session"} {
			h := hmac.New(sha1.New, []byte(k))
			h.Write([]byte(salt))
			secrets[string(h.Sum(nil))] = "Flask's key"
		}
		sum := sha1.Sum([]byte("wtf-csrf-tokensigner" + k))
		secrets[string(sum[:])] = "Flask-WTF's key"
	}
	config := session.Config{
		SecretKey: plantedKey, SecretKeyFallbacks: []string{plantedFallback}, Store: memstore.New(nil),
		Logger: slog.New(slog.DiscardHandler),
	}
	samples := map[string]sample{}
	add := func(name string, v any) { samples[name] = sample{value: v} }
	samples["Config"] = sample{config, true}
	samples["Config pointer"] = sample{&config, true}
	keys := []string{plantedKey, plantedFallback}

	for kind, change := range map[string]func(*session.Config){
		"store":     func(*session.Config) {},
		"encrypted": func(c *session.Config) { c.CookieCodec, c.Store = session.EncryptedCookie, nil },
		"flask":     func(c *session.Config) { c.CookieCodec, c.Store = flask.Cookie, nil },
		"SID":       func(c *session.Config) { c.IDFormat, c.Serializer = flask.SignedSID, flask.Msgpack },
	} {
		c := config
		change(&c)
		m, err := session.New(c)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { m.Close() })
		m.Sign("purpose", []byte("x"))
		add(kind+": Manager", m)
		s := mustSession(t, m, "")
		s.Set("v", plantedValue)
		s.Set("bytes", []byte(plantedValue))
		if token := s.Token(); token != "" {
			secrets[token] = "token"
		}
		add(kind+": Session, changed", s)
		saved := mustSession(t, m, "")
		saved.Set("v", plantedValue)
		saved.Login("ann")
		if err := saved.Save(t.Context()); err != nil {
			t.Fatal(err)
		}
		secrets[saved.Token()] = "token"
		add(kind+": Session, saved", saved)
		add(kind+": Info", saved.Info())
		renewed := mustSession(t, m, saved.Token())
		renewed.Renew()
		if token := renewed.Token(); token != "" {
			secrets[token] = "token"
		}
		add(kind+": Session, renewed", renewed)
		out := mustSession(t, m, saved.Token())
		out.Logout()
		add(kind+": Session, logged out", out)
		add(kind+": NewContext", session.NewContext(t.Context(), saved))

		name := "__Host-session"
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Cookie", name+"="+saved.Token())
		inside := 0
		m.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			inside++
			add(kind+": context, not opened", r.Context())
			session.From(r).Set("v", plantedValue)
			derived, cancel := context.WithCancel(context.WithValue(r.Context(), derivedKey{}, 2))
			t.Cleanup(cancel)
			add(kind+": context, derived", derived)
			add(kind+": context, error", fmt.Errorf("%w: %s", errors.New("x"), r.Context()))
		})).ServeHTTP(httptest.NewRecorder(), r)
		if inside != 1 {
			t.Fatalf("%s: the handler ran %d times", kind, inside)
		}
	}

	for name, make := range map[string]func([]string, string) (any, error){
		"SignedID":        func(k []string, n string) (any, error) { return session.SignedID(k, n) },
		"EncryptedCookie": func(k []string, n string) (any, error) { return session.EncryptedCookie(k, n) },
		"flask.SID":       func(k []string, n string) (any, error) { return flask.SID(k, n) },
		"flask.SignedSID": func(k []string, n string) (any, error) { return flask.SignedSID(k, n) },
		"flask.Cookie":    func(k []string, n string) (any, error) { return flask.Cookie(k, n) },
		"flask.CSRF":      func(k []string, _ string) (any, error) { return flask.NewCSRF(k[0], 0) },
		"flask.Signer": func(k []string, _ string) (any, error) {
			return flask.NewSigner("cookie-session", k, 0, nil, 0)
		},
		"flask.CookieAdopter": func(k []string, _ string) (any, error) {
			return flask.NewCookieAdopter(flask.CookieAdopterOptions{SecretKeys: k})
		},
		"flask.Adopter": func(k []string, _ string) (any, error) {
			return flask.NewAdopter(flask.AdopterOptions{Store: newSpy(), SigningKeys: k})
		},
	} {
		v, err := make(keys, "x")
		if err != nil {
			t.Fatal(err)
		}
		switch v := v.(type) { // they are pooled once they were used
		case session.IDFormat:
			v.New()
		case *flask.Signer:
			v.Sign([]byte("x"), time.Now())
		}
		add(name, v)
	}
	samples["flask.CookieAdopterOptions"] = sample{flask.CookieAdopterOptions{SecretKeys: keys}, true}
	samples["flask.AdopterOptions"] = sample{flask.AdopterOptions{SigningKeys: keys}, true}
	samples["flask.AdopterOptions pointer"] = sample{&flask.AdopterOptions{SigningKeys: keys}, true}

	full := memstore.New(nil)
	failing := &sessiontest.FailStore{Store: full}
	m := sessiontest.New(t, func(c *session.Config) { c.Store = failing })
	s := mustSession(t, m, "")
	s.Set("v", plantedValue)
	if err := s.Save(t.Context()); err != nil {
		t.Fatal(err)
	}
	secrets[s.Token()] = "token"
	add("FailStore", failing)
	add("Manager over FailStore", m)
	add("Store by value", server(t, func(c *session.Config) {
		c.Store = passwordStore{memstore.New(nil), plantedValue}
	}))
	return samples
}

// passwordStore is a store of the application that has a secret of its own.
type passwordStore struct {
	store.Store
	password string
}

func mustSession(t *testing.T, m *session.Manager, token string) *session.Session {
	t.Helper()
	s, err := m.Load(t.Context(), token)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// wrapped returns the sample by itself and within other values.
func wrapped(s sample) map[string]any {
	forms := map[string]any{}
	v := reflect.ValueOf(s.value)
	wrap := func(name string, v reflect.Value) {
		add := func(form string, v reflect.Value) { forms[name+" in "+form] = v.Interface() }
		typ := v.Type()
		add("nothing", v)
		add("a pointer", pointerTo(v))
		add("a pointer to a pointer", pointerTo(pointerTo(v)))
		list := reflect.Append(reflect.MakeSlice(reflect.SliceOf(typ), 0, 1), v)
		add("a slice", list)
		table := reflect.MakeMap(reflect.MapOf(reflect.TypeFor[string](), typ))
		table.SetMapIndex(reflect.ValueOf("x"), v)
		add("a map", table)
		if typ.Comparable() {
			keys := reflect.MakeMap(reflect.MapOf(typ, reflect.TypeFor[int]()))
			keys.SetMapIndex(v, reflect.ValueOf(1))
			add("keys of a map", keys)
		}
		add("an exported field", inField(v, "V"))
		add("an interface in an exported field", inField(asAny(v), "V"))
		if s.bare {
			return
		}
		for what, inner := range map[string]reflect.Value{
			"": v, "an interface in ": asAny(v), "a slice in ": list, "a map in ": table, "a pointer in ": pointerTo(v),
			"a pointer to a pointer in ": pointerTo(pointerTo(v)),
			"a field in ":                inField(v, "v"), "a pointer to a field in ": pointerTo(inField(v, "v")),
		} {
			held := inField(inner, "v")
			add(what+"an unexported field", held)
			add(what+"an unexported field of a pointer", pointerTo(held))
			add(what+"an unexported field of a slice",
				reflect.Append(reflect.MakeSlice(reflect.SliceOf(held.Type()), 0, 1), held))
		}
	}
	wrap(v.Type().String(), v)
	if v.Kind() == reflect.Pointer && v.Elem().Kind() == reflect.Struct && v.Elem().Type().PkgPath() != "context" &&
		ast.IsExported(v.Elem().Type().Name()) && v.Type() != reflect.TypeFor[*memstore.Store]() &&
		v.Type() != reflect.TypeFor[*sessiontest.FailStore]() {
		wrap("copied "+v.Type().String(), v.Elem())
	}
	return forms
}

func pointerTo(v reflect.Value) reflect.Value {
	p := reflect.New(v.Type())
	p.Elem().Set(v)
	return p
}

func asAny(v reflect.Value) reflect.Value {
	a := reflect.New(reflect.TypeFor[any]()).Elem()
	a.Set(v)
	return a
}

// inField returns a struct with v in its only field.
func inField(v reflect.Value, name string) reflect.Value {
	f := reflect.StructField{Name: name, Type: v.Type()}
	if !ast.IsExported(name) {
		f.PkgPath = "github.com/hipflask/session_test"
	}
	s := reflect.New(reflect.StructOf([]reflect.StructField{f})).Elem()
	reflect.NewAt(v.Type(), unsafe.Pointer(s.Field(0).UnsafeAddr())).Elem().Set(v)
	return s
}

// lookout knows how secrets look, however they are printed.
type lookout struct {
	forms map[string]string // what a text shows
}

var verbs = "vsqxXdTtbocUeEfFgGpw"

func newLookout(secrets map[string]string) *lookout {
	l := &lookout{forms: map[string]string{}}
	for text, what := range secrets {
		if len(text) < 12 {
			continue
		}
		text := text[:12] // a part is too much, too
		raw := []byte(text)
		for _, verb := range "vsqxXdbocU" {
			for _, flag := range []string{"", "#", " ", "+"} {
				for _, v := range []any{text, raw} {
					form := strings.Trim(fmt.Sprintf("%"+flag+string(verb), v), "[]\"`{} ")
					form = strings.TrimPrefix(form, "[]byte{")
					if len(form) >= 12 && !strings.Contains(form, "%!") {
						l.forms[form] = what
					}
				}
			}
		}
		l.forms[hex.EncodeToString(raw)] = what
		l.forms[base64.StdEncoding.EncodeToString(raw)] = what
		if quoted, err := json.Marshal(text); err == nil {
			l.forms[strings.Trim(string(quoted), `"`)] = what
		}
	}
	return l
}

// at prints v. For a value that is no pointer and no error, %p and %w print the fields without calling a method. go vet
// reports both. So they are left out for bare structs.
func (l *lookout) at(t *testing.T, form string, v any, bare bool) {
	t.Helper()
	var out bytes.Buffer
	for _, verb := range verbs {
		if bare && (verb == 'p' || verb == 'w') {
			continue
		}
		for _, flag := range []string{"", "+", "#"} {
			fmt.Fprintf(&out, "%"+flag+string(verb)+"\n", v)
		}
	}
	fmt.Fprintln(&out, fmt.Errorf("%s", v), fmt.Errorf("%v", v), errors.Join(fmt.Errorf("%d", v)))
	log := slog.New(slog.NewMultiHandler(slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)))
	log.Info("x", "v", v, slog.Group("g", "v", v))
	log.With("v", v).Info("x")
	text, err := json.Marshal(v)
	fmt.Fprintf(&out, "%s %v\n", text, err)
	fmt.Fprintln(&out, json.NewEncoder(&out).Encode(v))
	got := out.String()
	for text, what := range l.forms {
		if i := strings.Index(got, text); i >= 0 {
			t.Errorf("%s: the %s is printed: %.300q", form, what, got[max(0, i-200):])
			return
		}
	}
}

type derivedKey struct{}
