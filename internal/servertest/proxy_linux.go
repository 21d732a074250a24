package servertest

import (
	"net"
	"os"
	"syscall"
	"time"
)

// Full cuts all connections and lets nobody connect: the queue of connections that wait to be accepted is full, so the
// kernel drops each SYN, and whoever connects waits without an answer. It returns when that is so.
func (p *Proxy) Full() {
	var waiting []net.Conn
	p.set(func() {
		p.empty()
		p.full = func() {
			p.backlog(syscall.SOMAXCONN)
			for _, c := range waiting {
				c.Close()
			}
			_ = p.listener.SetDeadline(time.Time{})
		}
		_ = p.listener.SetDeadline(time.Now())
		p.cutAll()
		for !p.parked {
			p.changed.Wait()
		}
		p.backlog(0)
		for {
			c, err := net.DialTimeout("tcp", p.Addr, time.Second)
			if os.IsTimeout(err) {
				return
			}
			if err != nil {
				panic("servertest: fill the backlog: " + err.Error())
			}
			waiting = append(waiting, c)
		}
	})
}

// backlog sets how many connections, and one more, may wait to be accepted.
func (p *Proxy) backlog(n int) {
	raw, err := p.listener.SyscallConn()
	if err == nil {
		err = raw.Control(func(fd uintptr) {
			if err := syscall.Listen(int(fd), n); err != nil {
				panic("servertest: set the backlog: " + err.Error())
			}
		})
	}
	if err != nil {
		panic("servertest: set the backlog: " + err.Error())
	}
}
