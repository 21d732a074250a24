package session_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hipflask/session"
	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/memstore"
)

const (
	plantedKey      = "planted-k1-52c1Wq9ZtX4mB7vKd2Ls"
	plantedFallback = "planted-k2-9d3eRb6HyT8nCq3WzJf5"
	plantedValue    = "planted-value-7b0f"
)

// witness collects what gets out, and every text that must not.
type witness struct {
	mu      sync.Mutex
	out     bytes.Buffer
	secrets map[string]string // text: what it is
}

func newWitness() *witness {
	return &witness{secrets: map[string]string{plantedKey: "SecretKey", plantedFallback: "fallback key",
		plantedValue: "value"}}
}

func (w *witness) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.out.Write(b)
}

func (w *witness) secret(text, what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if text != "" {
		w.secrets[text] = what
	}
}

// print writes v the ways in which programs print things.
func (w *witness) print(v any) {
	fmt.Fprintf(w, "%v|%+v|%#v|%s|%q|%x|%d\n", v, v, v, v, v, v, v)
	slog.New(slog.NewTextHandler(w, nil)).Info("x", "v", v)
	slog.New(slog.NewJSONHandler(w, nil)).Info("x", "v", v)
}

func (w *witness) check(t *testing.T) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	out := w.out.String()
	if len(out) < 1000 {
		t.Errorf("got only %d bytes, want more to look through", len(out))
	}
	for text, what := range w.secrets {
		decimal := strings.Trim(fmt.Sprint([]byte(text)), "[]")
		for how, form := range map[string]string{
			"plain": text, "hex": hex.EncodeToString([]byte(text)),
			"HEX": strings.ToUpper(hex.EncodeToString([]byte(text))), "decimal": decimal,
			"base64": strings.TrimRight(base64.StdEncoding.EncodeToString([]byte(text)), "="),
			"URL":    url.QueryEscape(text), "quoted": strings.Trim(fmt.Sprintf("%q", text), `"`),
			"half": text[:len(text)/2+2],
		} {
			if i := strings.Index(out, form); i >= 0 {
				t.Errorf("%s got out (%s): %.300q", what, how, out[max(0, i-150):])
				break
			}
		}
	}
}

// watchedIDs tells the witness every ID and key that is made or asked for.
type watchedIDs struct {
	session.IDFormat
	w *witness
}

func (f watchedIDs) New() (token, key string) {
	token, key = f.IDFormat.New()
	f.w.secret(token, "ID")
	f.w.secret(key, "store key")
	return token, key
}

// saboteur fails in a way of its own; nothing that it says itself is secret.
type saboteur struct {
	store.Store
	fail func(op string, again int) (before, after error)
	mu   sync.Mutex
	n    int
}

func (s *saboteur) do(ctx context.Context, op string, call func() error) error {
	s.mu.Lock()
	s.n++
	before, after := s.fail(op, s.n)
	s.mu.Unlock()
	if before == errHang {
		<-ctx.Done()
		return ctx.Err()
	}
	if before != nil {
		return before
	}
	if err := call(); err != nil {
		return err
	}
	return after
}

var errHang = errors.New("hangs")

func (s *saboteur) Load(ctx context.Context, key string) (r store.Record, err error) {
	err = s.do(ctx, "load", func() error { r, err = s.Store.Load(ctx, key); return err })
	return r, err
}

func (s *saboteur) Create(ctx context.Context, r store.Record) error {
	return s.do(ctx, "create", func() error { return s.Store.Create(ctx, r) })
}

func (s *saboteur) Replace(ctx context.Context, r store.Record, version uint64) error {
	return s.do(ctx, "replace", func() error { return s.Store.Replace(ctx, r, version) })
}

func (s *saboteur) Touch(ctx context.Context, key string, version uint64, seen, expires time.Time) error {
	return s.do(ctx, "touch", func() error { return s.Store.Touch(ctx, key, version, seen, expires) })
}

func (s *saboteur) Delete(ctx context.Context, key string) error {
	return s.do(ctx, "delete", func() error { return s.Store.Delete(ctx, key) })
}

// sabotage is how the store fails, by name.
var sabotage = map[string]func(op string, again int) (before, after error){
	"not at all":      func(string, int) (error, error) { return nil, nil },
	"always":          func(string, int) (error, error) { return errDown, nil },
	"lost answers":    func(op string, _ int) (error, error) { return nil, errDown },
	"no loads":        func(op string, _ int) (error, error) { return when(op == "load", errDown), nil },
	"no writes":       func(op string, _ int) (error, error) { return when(op != "load", errDown), nil },
	"lost writes":     func(op string, _ int) (error, error) { return nil, when(op != "load", errDown) },
	"from the second": func(_ string, n int) (error, error) { return when(n > 1, errDown), nil },
	"from the third":  func(_ string, n int) (error, error) { return when(n > 2, errDown), nil },
	"every second":    func(_ string, n int) (error, error) { return when(n%2 == 0, errDown), nil },
	"every third":     func(_ string, n int) (error, error) { return nil, when(n%3 == 0, errDown) },
	"conflicts": func(op string, _ int) (error, error) {
		return when(op == "replace" || op == "touch", store.ErrConflict), nil
	},
	"keys that exist": func(op string, _ int) (error, error) { return when(op == "create", store.ErrExists), nil },
	"nothing there": func(op string, _ int) (error, error) {
		return when(op != "create" && op != "delete", store.ErrNotFound), nil
	},
	"hanging loads":  func(op string, _ int) (error, error) { return when(op == "load", errHang), nil },
	"hanging writes": func(op string, _ int) (error, error) { return when(op != "load", errHang), nil },
}

func when(is bool, err error) error {
	if is {
		return err
	}
	return nil
}

// actions are what a handler may do, all of it with a value that is recognizable.
var actions = map[string]func(http.ResponseWriter, *http.Request, *session.Session) error{
	"read": func(_ http.ResponseWriter, _ *http.Request, s *session.Session) error { s.Get("v"); return nil },
	"wrong type": func(_ http.ResponseWriter, _ *http.Request, s *session.Session) error {
		session.Key[int]("v").Get(s)
		return nil
	},
	"set": func(_ http.ResponseWriter, _ *http.Request, s *session.Session) error {
		s.Set("v", plantedValue+"2")
		return s.Err()
	},
	"large": func(_ http.ResponseWriter, _ *http.Request, s *session.Session) error {
		s.Set("v", strings.Repeat(plantedValue, 1000))
		return s.Err()
	},
	"unencodable": func(_ http.ResponseWriter, _ *http.Request, s *session.Session) error {
		s.Set("v", struct {
			Text string
			Chan chan int
		}{Text: plantedValue})
		return s.Err()
	},
	"not UTF-8": func(_ http.ResponseWriter, _ *http.Request, s *session.Session) error {
		s.Set("v", plantedValue+"\xff")
		return s.Err()
	},
	"bad login": func(_ http.ResponseWriter, _ *http.Request, s *session.Session) error {
		s.Login(strings.Repeat(plantedValue, 99))
		return s.Err()
	},
	"login": func(_ http.ResponseWriter, r *http.Request, s *session.Session) error {
		s.Login("bob")
		return s.Save(r.Context())
	},
	"renew": func(_ http.ResponseWriter, r *http.Request, s *session.Session) error {
		s.Renew()
		return s.Save(r.Context())
	},
	"logout": func(_ http.ResponseWriter, r *http.Request, s *session.Session) error {
		s.Logout()
		return s.Save(r.Context())
	},
	"take": func(_ http.ResponseWriter, r *http.Request, s *session.Session) error {
		_, _, err := session.Key[string]("v").Take(r.Context(), s)
		return err
	},
	"update": func(_ http.ResponseWriter, r *http.Request, s *session.Session) error {
		session.Key[string]("v").Update(s, func(v string) string { return v + plantedValue })
		return s.Save(r.Context())
	},
	"reload": func(_ http.ResponseWriter, r *http.Request, s *session.Session) error { return s.Reload(r.Context()) },
	"late": func(w http.ResponseWriter, _ *http.Request, s *session.Session) error {
		w.Write([]byte("x"))
		s.Login("bob")
		s.Set("v", plantedValue)
		return nil
	},
	"panic": func(_ http.ResponseWriter, _ *http.Request, s *session.Session) error { panic(s) },
}

// Requests of every kind, with cookies of every kind, while the store fails in every way: no ID, no cookie, no key of
// the store, no secret and no value is in an answer's body, an event, a log, or an error (P8; ASVS 5.0, 16.2.5).
func TestNothingSecretGetsOut(t *testing.T) {
	t.Parallel()
	for kind, option := range kinds {
		for way, fail := range sabotage {
			if kind == "encrypted" && way != "not at all" {
				continue
			}
			t.Run(kind+"/"+way, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) { secrecyOf(t, option, fail) })
			})
		}
	}
}

func secrecyOf(t *testing.T, option func(*session.Config), fail func(string, int) (error, error)) {
	out := newWitness()
	bad := &saboteur{Store: memstore.New(nil), fail: sabotage["not at all"]}
	b := newBench(t, func(c *session.Config) {
		c.SecretKey, c.SecretKeyFallbacks, c.MaxBytes = plantedKey, []string{plantedFallback}, 5000
		c.Store = bad
		c.IDFormat = func(keys []string, name string) (session.IDFormat, error) {
			f, err := session.SignedID(keys, name)
			return watchedIDs{f, out}, err
		}
		option(c)
		if c.CookieCodec != nil {
			c.IDFormat = nil
		}
		c.Logger = slog.New(slog.NewMultiHandler(slog.NewTextHandler(out, nil), slog.NewJSONHandler(out, nil)))
		c.OnEvent = func(_ context.Context, e session.Event) {
			out.print(e)
			out.print(&e)
			out.print(e.Err)
		}
	})
	stored := func() string {
		s := mustLoad(t, b, "")
		s.Login("ann")
		s.Set("v", plantedValue)
		s.Set("list", []string{plantedValue})
		if err := s.Save(t.Context()); err != nil {
			t.Fatal(err)
		}
		out.secret(s.Token(), "cookie")
		return b.Cookie(s).Value
	}
	for name, act := range actions {
		bad.mu.Lock()
		bad.fail = sabotage["not at all"]
		bad.mu.Unlock()
		good := stored()
		bad.mu.Lock()
		bad.fail = fail
		bad.mu.Unlock()
		for _, cookie := range []string{"", good, good + "x", good[:len(good)-1] + "A"} {
			bad.mu.Lock()
			bad.n = 0
			bad.mu.Unlock()
			time.Sleep(time.Minute) // the log takes each kind of failure once in a second
			r := httptest.NewRequest("GET", "/", nil)
			r.Header.Set("Cookie", b.name+"="+cookie)
			w := httptest.NewRecorder()
			v := recovered(func() {
				b.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					s := session.From(r)
					err := act(w, r, s)
					out.print(s)
					out.print(err)
					out.print(s.Err())
					out.print(s.Info())
					_, err = w.Write([]byte(name))
					out.print(err)
				})).ServeHTTP(w, r)
			})
			out.print(v)
			fmt.Fprintf(out, "%d %s\n", w.Code, w.Body)
			for _, c := range w.Result().Cookies() {
				out.secret(c.Value, "cookie")
			}
			_, err := b.Load(t.Context(), cookie)
			out.print(err)
		}
	}
	out.check(t)
}

// What a program may print by accident.
func TestPrinting(t *testing.T) {
	t.Parallel()
	out := newWitness()
	config := session.Config{
		SecretKey: plantedKey, SecretKeyFallbacks: []string{plantedFallback}, Store: newSpy(),
		Logger: slog.New(slog.DiscardHandler), Cookie: session.Cookie{Name: "__Host-sid"},
	}
	m, err := session.New(config)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	s, err := m.Load(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	s.Set("v", plantedValue)
	out.secret(s.Token(), "token")
	s.Login("ann")
	if err := s.Save(t.Context()); err != nil {
		t.Fatal(err)
	}
	out.secret(s.Token(), "token")
	for _, v := range []any{
		config, &config, m, s, s.Info(), session.EncryptedCookie, session.JSON, config.Cookie, session.Key[string]("v"),
		[]any{config, m, s}, map[string]any{"config": config, "manager": m, "session": s},
		struct {
			Config  session.Config
			Manager *session.Manager
			Session *session.Session
		}{config, m, s},
		(*session.Session)(nil), &session.Session{}, (*session.Manager)(nil), (*session.Config)(nil), session.Config{},
	} {
		out.print(v)
	}
	for _, make := range []func() (any, error){
		func() (any, error) { return session.SignedID([]string{plantedKey, plantedFallback}, "x") },
		func() (any, error) { return session.EncryptedCookie([]string{plantedKey, plantedFallback}, "x") },
	} {
		v, err := make()
		if err != nil {
			t.Fatal(err)
		}
		out.print(v)
	}
	log.New(out, "", 0).Print(config, m, s)
	out.check(t)
}

// No exported field of an exported type holds an ID or a key: what can't be reached can't be printed.
func TestNoExportedSecrets(t *testing.T) {
	t.Parallel()
	for _, v := range []any{session.Session{}, session.Manager{}} {
		for i := range reflect.TypeOf(v).NumField() {
			if f := reflect.TypeOf(v).Field(i); f.IsExported() {
				t.Errorf("%T has an exported field %s", v, f.Name)
			}
		}
	}
	for _, f := range reflect.VisibleFields(reflect.TypeFor[session.Info]()) {
		if strings.Contains(f.Name, "Token") || strings.Contains(f.Name, "Key") || strings.Contains(f.Name, "ID") {
			t.Errorf("Info has a field %s", f.Name)
		}
	}
}
