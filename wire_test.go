package session_test

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

// wire talks to a server of net/http by one of its protocols.
type wire struct {
	*http.Client
	protocol string
	url      string
}

// eachProtocol starts a server of handler for HTTP/1.1, HTTP/2, and HTTP/2 without TLS, and runs test with each.
func eachProtocol(t *testing.T, handler http.Handler, test func(*testing.T, *wire)) {
	t.Helper()
	for _, name := range []string{"HTTP1", "HTTP2", "h2c"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := httptest.NewUnstartedServer(handler)
			srv.Config.ErrorLog = discardLog
			c := &wire{protocol: "HTTP/2.0"}
			switch name {
			case "HTTP1":
				c.protocol = "HTTP/1.1"
				srv.Start()
			case "HTTP2":
				srv.EnableHTTP2 = true
				srv.StartTLS()
			case "h2c":
				srv.Config.Protocols = new(http.Protocols)
				srv.Config.Protocols.SetUnencryptedHTTP2(true)
				srv.Start()
				srv.Client().Transport.(*http.Transport).Protocols = srv.Config.Protocols
			}
			t.Cleanup(srv.Close)
			c.Client, c.url = srv.Client(), srv.URL
			test(t, c)
		})
	}
}

func (c *wire) request(t *testing.T, method, path, cookie string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, c.url+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if cookie != "" {
		r.Header.Set("Cookie", cookie)
	}
	return r
}

func (c *wire) do(t *testing.T, r *http.Request) *http.Response {
	t.Helper()
	res, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { res.Body.Close() })
	if res.Proto != c.protocol {
		t.Fatalf("got %s, want %s", res.Proto, c.protocol)
	}
	return res
}

func (c *wire) get(t *testing.T, path, cookie string) *http.Response {
	t.Helper()
	return c.do(t, c.request(t, "GET", path, cookie))
}
