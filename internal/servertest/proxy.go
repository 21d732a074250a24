package servertest

import (
	"bytes"
	"errors"
	"net"
	"os"
	"sync"
	"time"
)

// Proxy stands between a client and a server and breaks what it is told to. Its methods are safe for concurrent use.
type Proxy struct {
	Addr string

	target   string
	listener *net.TCPListener

	mu      sync.Mutex
	changed *sync.Cond
	refuse  bool
	hold    bool
	delay   time.Duration
	full    func() // ends Full; nil: it accepts connections
	parked  bool   // accept has stopped, since it is full
	cut     *cut
	cuts    int
	conns   map[net.Conn]bool
	running sync.WaitGroup
}

// cut is what happens to the next request that contains text.
type cut struct {
	text   []byte
	answer bool // the request reaches the server, its answer gets lost
}

// NewProxy starts a Proxy in front of the server at target, on a port of its own. It passes everything at first.
func NewProxy(tb TB, target string) *Proxy {
	tb.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", FreePort(tb)))
	if err != nil {
		tb.Fatalf("servertest: proxy: %v", err)
	}
	p := &Proxy{Addr: l.Addr().String(), target: target, listener: l.(*net.TCPListener), conns: map[net.Conn]bool{}}
	p.changed = sync.NewCond(&p.mu)
	p.running.Go(p.accept)
	tb.Cleanup(p.close)
	return p
}

// Pass lets everything through again.
func (p *Proxy) Pass() {
	p.set(func() {
		p.refuse, p.hold, p.delay, p.cut = false, false, 0, nil
		p.empty()
	})
}

// empty ends Full.
func (p *Proxy) empty() {
	if p.full != nil {
		p.full()
		p.full = nil
	}
}

// Refuse cuts all connections, and each new one at once, as a server that has ended.
func (p *Proxy) Refuse() {
	p.set(func() {
		p.refuse = true
		p.cutAll()
	})
}

// Reset ends all connections with a TCP reset, so that a client's next write fails. It returns when they have ended.
func (p *Proxy) Reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		_ = c.(*net.TCPConn).SetLinger(0)
	}
	p.cutAll()
	for len(p.conns) > 0 {
		p.changed.Wait()
	}
}

// Hold passes nothing in either direction and cuts nothing, as a network that swallows packets.
func (p *Proxy) Hold() { p.set(func() { p.hold = true }) }

// Delay holds each piece of an answer back for d.
func (p *Proxy) Delay(d time.Duration) { p.set(func() { p.delay = d }) }

// CutRequest cuts the connection of the next request that contains text (nil: any) before the server gets it.
func (p *Proxy) CutRequest(text []byte) { p.set(func() { p.cut = &cut{text: text} }) }

// CutAnswer passes the next request that contains text (nil: any), waits until the server answers, and cuts the
// connection instead of passing the answer.
func (p *Proxy) CutAnswer(text []byte) { p.set(func() { p.cut = &cut{text: text, answer: true} }) }

// Cuts returns how many requests CutRequest and CutAnswer have cut.
func (p *Proxy) Cuts() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cuts
}

func (p *Proxy) set(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
	p.changed.Broadcast()
}

func (p *Proxy) cutAll() {
	for c := range p.conns {
		c.Close()
	}
}

func (p *Proxy) close() {
	p.set(p.empty)
	p.listener.Close()
	p.Refuse()
	p.set(func() { p.hold = false })
	p.running.Wait()
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			p.park()
			continue
		}
		if err != nil {
			return
		}
		p.running.Go(func() { p.serve(client) })
	}
}

// park waits while the proxy is full.
func (p *Proxy) park() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.parked = true
	p.changed.Broadcast()
	for p.full != nil {
		p.changed.Wait()
	}
	p.parked = false
}

func (p *Proxy) serve(client net.Conn) {
	defer client.Close()
	server, err := net.DialTimeout("tcp", p.target, Patience)
	if err != nil {
		return
	}
	defer server.Close()
	p.mu.Lock()
	if p.refuse {
		p.mu.Unlock()
		return
	}
	p.conns[client], p.conns[server] = true, true
	p.mu.Unlock()
	defer p.set(func() { delete(p.conns, client); delete(p.conns, server) })

	l := &link{p: p, client: client, server: server}
	var both sync.WaitGroup
	both.Go(func() { l.copy(client, server, l.request) })
	both.Go(func() { l.copy(server, client, l.answer) })
	both.Wait()
}

// link is one connection through the proxy.
type link struct {
	p              *Proxy
	client, server net.Conn
	mu             sync.Mutex
	loses          bool // its next answer
}

// copy passes what from sends to to, as long as pass allows it, and then ends both.
func (l *link) copy(from, to net.Conn, pass func([]byte) bool) {
	defer from.Close()
	defer to.Close()
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			if !l.p.open() || !pass(buf[:n]) {
				return
			}
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// open waits while the proxy holds, and says whether connections live.
func (p *Proxy) open() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.hold && !p.refuse {
		p.changed.Wait()
	}
	return !p.refuse
}

func (l *link) request(b []byte) bool {
	p := l.p
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cut == nil || !bytes.Contains(b, p.cut.text) {
		return true
	}
	l.mu.Lock()
	l.loses = p.cut.answer
	l.mu.Unlock()
	p.cuts++
	answer := p.cut.answer
	p.cut = nil
	return answer
}

func (l *link) answer([]byte) bool {
	l.p.mu.Lock()
	delay := l.p.delay
	l.p.mu.Unlock()
	time.Sleep(delay)
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.loses
}
