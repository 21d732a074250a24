package main

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// progress is told how many sessions are done.
type progress interface {
	Add(n int) error
	Exit() error
}

// lineInterval is the time between two lines of lineProgress.
const lineInterval = 10 * time.Second

// lineProgress writes a line now and then, for logs, where a bar would be noise.
type lineProgress struct {
	out   io.Writer
	what  string
	total int
	now   func() time.Time

	mu          sync.Mutex
	done        int
	began, last time.Time
}

func newLineProgress(out io.Writer, total int, what string, now func() time.Time) *lineProgress {
	return &lineProgress{out: out, what: what, total: total, now: now, began: now(), last: now()}
}

func (p *lineProgress) Add(n int) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done += n
	now := p.now()
	if now.Sub(p.last) < lineInterval {
		return nil
	}
	p.last = now
	_, err := fmt.Fprintf(p.out, "hipflask: %s: %d of %d sessions, %.0f a second\n", p.what, p.done,
		p.total, float64(p.done)/now.Sub(p.began).Seconds())
	return err
}

// Exit does nothing: the report follows.
func (p *lineProgress) Exit() error { return nil }
