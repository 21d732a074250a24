package session

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// take removes key in the store at once, and returns its value if it was this call that removed it.
func (s *Session) take(ctx context.Context, key string) (data []byte, ok bool, err error) {
	if s.m.codec != nil {
		return nil, false, fmt.Errorf("session: Take needs a Store: %w", errors.ErrUnsupported)
	}
	if err := checkName(key); err != nil {
		return nil, false, fmt.Errorf("session: key %q can't be taken: %w", key, err)
	}
	s.io.Lock()
	defer s.io.Unlock()
	s.mu.Lock()
	if s.state == failed || s.unsure {
		defer s.mu.Unlock()
		return nil, false, s.err
	}
	if s.state == spent && s.life != login {
		defer s.mu.Unlock()
		s.drop()
		return nil, false, ErrEnded // what the client saw before is the principal's now
	}
	data, ok = s.changes.get(s.document, key)
	if !ok || s.state != live {
		if ok && s.writable() {
			s.changes.put(key, nil, false) // never stored, so nobody else can have it
		}
		s.mu.Unlock()
		return data, ok, nil
	}
	// What this request did to the key so far goes with it; other changes wait for the save.
	own := changes{seq: s.changes.seq}
	if pending := s.changes.find(key); pending != nil {
		own.list = []change{*pending}
	}
	own.update(key, func(value []byte, present bool) ([]byte, bool, error) {
		data, ok = value, present
		return nil, false, nil
	}, nil, false)
	own.seq = s.changes.seq // nothing newer is part of it
	c := &commit{
		m: s.m, base: s.record, document: s.document, who: s.record.Principal, at: s.loadedAt,
		changes: own, active: s.isActive, take: true, moved: s.moved,
	}
	handle := s.record.Handle
	s.mu.Unlock()

	c.now = time.Now()
	bounded := s.m.newSave(ctx, c.now)
	defer bounded.cancel()
	if err := c.locked(bounded); err != nil {
		s.m.failed(s.context(), handle, err)
		return nil, false, err
	}
	if c.dropped {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.event(Event{Kind: EventDropped, Handle: handle, Principal: s.record.Principal, Err: ErrEnded})
		s.end()
		return nil, false, ErrEnded
	}
	s.mu.Lock()
	if pending := s.changes.find(key); pending == nil || pending.seq <= own.seq {
		s.changes.forget(key)
		s.changes.seq++
	}
	s.mu.Unlock()
	return data, ok, s.rebase(c.found(), 0)
}
