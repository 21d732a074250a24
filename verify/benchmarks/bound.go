package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/hipflask/session"
	"github.com/hipflask/session/dbsc"
	"github.com/hipflask/session/store/memstore"
	"github.com/hipflask/session/verify/benchmarks/measure"
)

// bound measures what module dbsc adds to a request of a device bound session, and a refresh.
func (b *bench) bound() error {
	d, err := newDevice()
	if err != nil {
		return err
	}
	defer d.sessions.Close()
	with := d.sessions.Handler(d.server.Middleware(http.HandlerFunc(d.read)))
	without := d.sessions.Handler(http.HandlerFunc(d.read))
	hmac := hmacFloor()
	message := sha256.Sum256([]byte("a proof"))
	signature, err := ecdsa.SignASN1(rand.Reader, d.key, message[:])
	if err != nil {
		return err
	}
	plain := func(n int) { d.send(n, without, "GET", "/", nil) }
	challenge := map[string]string{"Sec-Secure-Session-Id": d.id}
	answer := map[string]string{"Sec-Secure-Session-Id": d.id, "Secure-Session-Response": d.proof}
	samples := measure.Run(b.plan,
		measure.Subject{Name: "bound", Run: func(n int) { d.send(n, with, "GET", "/", nil) }},
		measure.Subject{Name: "plain and HMAC", Run: func(n int) { plain(n); hmac.Run(n) }},
		measure.Subject{Name: "refresh", Run: func(n int) {
			for range n {
				d.send(1, d.app, "POST", "/dbsc/refresh", challenge)
				d.send(1, d.app, "POST", "/dbsc/refresh", answer)
			}
		}},
		measure.Subject{Name: "two plain and ES256", Run: func(n int) {
			plain(2 * n)
			for range n {
				ecdsa.VerifyASN1(&d.key.PublicKey, message[:], signature)
			}
		}},
	)
	if d.problem != nil {
		return d.problem
	}
	b.row(target{"device bound session, read one key", "the same unbound, and an HMAC", 1.25, 1, 0},
		samples[0], samples[1])
	b.row(target{"device bound session, refresh", "two requests unbound, and ES256", 1.5, 1.25, 0}, samples[2],
		samples[3])
	return nil
}

// device is a browser that has registered a key.
type device struct {
	sessions *session.Manager
	server   *dbsc.Server
	app      http.Handler
	key      *ecdsa.PrivateKey
	cookies  map[string]string
	id       string
	proof    string // for a refresh
	problem  error
}

func newDevice() (*device, error) {
	d := &device{cookies: map[string]string{}}
	var err error
	d.sessions, err = session.New(session.Config{SecretKey: session.NewSecretKey(), Store: memstore.New(nil),
		Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, err
	}
	if d.server, err = dbsc.New(d.sessions, dbsc.Options{}); err != nil {
		return nil, err
	}
	if d.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("/dbsc/", d.server)
	mux.HandleFunc("POST /login", func(w http.ResponseWriter, r *http.Request) {
		session.From(r).Set(theme, colour)
		session.From(r).Set(remarks, note)
		session.From(r).Login("ann")
	})
	d.app = d.sessions.Handler(d.server.Middleware(mux))

	h := d.send(1, d.app, "POST", "/login", nil).Header()
	_, challenge, _ := strings.Cut(h.Get("Secure-Session-Registration"), `challenge=`)
	proof, err := d.sign(strings.Trim(challenge, `"`), true)
	if err != nil {
		return nil, err
	}
	res := d.send(1, d.app, "POST", "/dbsc/register", map[string]string{"Secure-Session-Response": proof})
	var instructions struct {
		ID string `json:"session_identifier"`
	}
	if err := json.Unmarshal(res.Body.Bytes(), &instructions); err != nil || instructions.ID == "" {
		return nil, fmt.Errorf("dbsc: the registration got status %d", res.Code)
	}
	d.id = instructions.ID
	h = d.send(1, d.app, "POST", "/dbsc/refresh", map[string]string{"Sec-Secure-Session-Id": d.id}).Header()
	challenge, _, _ = strings.Cut(h.Get("Secure-Session-Challenge"), `;`)
	d.problem = nil // that was 403, as it is to be
	d.proof, err = d.sign(strings.Trim(challenge, `"`), false)
	return d, err
}

// sign returns a proof (RFC 7515, ES256).
func (d *device) sign(challenge string, withKey bool) (string, error) {
	head := `{"alg":"ES256","typ":"dbsc+jwt"}`
	encode := base64.RawURLEncoding.EncodeToString
	if withKey {
		point, err := d.key.PublicKey.Bytes() // 4, X, Y
		if err != nil {
			return "", err
		}
		head = fmt.Sprintf(`{"alg":"ES256","typ":"dbsc+jwt","jwk":{"kty":"EC","crv":"P-256","x":%q,"y":%q}}`,
			encode(point[1:33]), encode(point[33:]))
	}
	text := encode([]byte(head)) + "." + encode([]byte(`{"jti":"`+challenge+`"}`))
	sum := sha256.Sum256([]byte(text))
	r, s, err := ecdsa.Sign(rand.Reader, d.key, sum[:])
	if err != nil {
		return "", err
	}
	signature := append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
	return text + "." + encode(signature), nil
}

func (d *device) read(w http.ResponseWriter, r *http.Request) {
	if got, _ := session.Key[string](theme).Get(session.From(r)); got != colour {
		d.problem = fmt.Errorf("dbsc: read %q, want %q", got, colour)
	}
}

// send makes a request n times, with all cookies, and returns the last response.
func (d *device) send(n int, h http.Handler, method, path string,
	header map[string]string) (w *httptest.ResponseRecorder) {
	r := httptest.NewRequest(method, "https://example.com"+path, nil)
	for name, value := range header {
		r.Header.Set(name, value)
	}
	for name, value := range d.cookies {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	for range n {
		w = httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != http.StatusOK && header["Secure-Session-Response"] == d.proof {
			d.problem = fmt.Errorf("dbsc: %s got status %d", path, w.Code)
		}
	}
	for _, c := range w.Result().Cookies() {
		d.cookies[c.Name] = c.Value
	}
	return w
}
