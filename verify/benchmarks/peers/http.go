package peers

import "net/http"

// httpServer is a Server for handlers of net/http.
type httpServer struct{ handler http.Handler }

func (s httpServer) Prepare() Request {
	r, err := http.NewRequest(http.MethodGet, "http://example.com/", http.NoBody)
	if err != nil {
		panic(err)
	}
	// As a server would have parsed it.
	r.RequestURI, r.RemoteAddr = "/", "192.0.2.1:1234"
	r.Header.Set("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0")
	r.Header.Set("Accept", "text/html")
	return &httpRequest{handler: s.handler, prepared: r, cookie: make([]string, 1), w: recorder{header: http.Header{}}}
}

type httpRequest struct {
	handler  http.Handler
	prepared *http.Request
	cookie   []string // the header's values
	sent     http.Request
	w        recorder
}

func (q *httpRequest) Send(cookie string) Answer {
	if q.cookie[0] = cookie; cookie == "" {
		delete(q.prepared.Header, "Cookie")
	} else {
		q.prepared.Header["Cookie"] = q.cookie
	}
	clear(q.w.header)
	q.w.status = 0
	q.sent = *q.prepared // some libraries write into the request
	q.handler.ServeHTTP(&q.w, &q.sent)
	return Answer{Status: q.w.status, SetCookies: q.w.header["Set-Cookie"]}
}

// recorder keeps what matters of an answer and allocates nothing.
type recorder struct {
	header http.Header
	status int
}

func (w *recorder) Header() http.Header { return w.header }

func (w *recorder) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
}

func (w *recorder) Write(b []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return len(b), nil
}

// Bare is a server without sessions: the floor under the others.
func Bare() Server {
	return httpServer{http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(reply)
	})}
}
