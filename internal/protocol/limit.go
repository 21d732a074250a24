package protocol

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/hipflask/session/internal/document"
	"github.com/hipflask/session/store"
)

// This file bounds the sessions of one principal: see Options.MaxSessions.

// limitName is the public attribute with a session's [seniority]. Most sessions have none.
const limitName = "limit"

// seniority is what the limit has to know of a login besides Record.CreatedAt.
type seniority struct {
	// Over is the handle of the session of the same principal that the login takes over. For a moment both records
	// exist, and they count once.
	Over string `json:"o,omitempty"`

	// At is the time of the login, in milliseconds since 1970, if it isn't CreatedAt: because of another server's
	// clock, or because the user was authenticated earlier.
	At int64 `json:"a,omitempty"`

	created int64 // CreatedAt, which orders sessions of equal At
}

func (a seniority) compare(b seniority) int {
	return cmp.Or(cmp.Compare(a.At, b.At), cmp.Compare(a.created, b.created))
}

// IsReserved reports whether the application may not use a public attribute of that name.
func IsReserved(public string) bool { return public == AuthName || public == limitName }

func seniorityOf(r *store.Record) (own seniority) {
	if bytes.Contains(r.Public, []byte(`"`+limitName+`"`)) {
		members, err := document.JSON{}.Split(r.Public)
		i := slices.IndexFunc(members, func(m document.Member) bool { return m.Name == limitName })
		if err == nil && i >= 0 && json.Unmarshal(members[i].Value, &own) != nil {
			own = seniority{}
		}
	}
	own.created = r.CreatedAt.UnixMilli()
	if own.At == 0 {
		own.At = own.created
	}
	return own
}

// ranked adds the seniority of a login to d, the document of its new record r. over is the handle of the session that
// the login takes over, or "".
func (f *Records) ranked(d document.Document, r *store.Record, over string, now time.Time) (document.Document, error) {
	own := seniority{Over: over}
	if at := now.UnixMilli(); f.Limited && at != r.CreatedAt.UnixMilli() {
		own.At = at
	}
	if own == (seniority{}) {
		return d, nil
	}
	return with(d, own)
}

func with(d document.Document, own seniority) (document.Document, error) {
	value, err := json.Marshal(own)
	return d.With(document.PublicAttribute(limitName), value), err
}

// peer is one session of the principal, as a listing found it.
type peer struct {
	handle string
	seniority
	records []store.Record // one, or two while its ID is being renewed
}

// maxRises bounds how often a login makes itself younger than the other logins that it finds.
const maxRises = 3

// limitLogin applies the limit after a Login was stored. It gets a copy of s, since limit moves its saving to the heap,
// and other saves need not pay for that.
func limitLogin(ctx context.Context, s saving) View {
	s.attempts, s.conflicts, s.took = 0, 0, 0
	if err := s.limit(ctx); err != nil {
		s.c.Excess = Uncertain("end the sessions beyond MaxSessions", err)
	}
	s.c.Overtaken = s.overtaken
	return s.result()
}

// limit ends the oldest sessions of the principal who has just logged in, if there are more than MaxSessions.
// Concurrent logins see each other, since each lists only after its record is stored. So all of them see the same
// order.
//
// A login whose session isn't among the newest was overtaken, or another server's clock is ahead. It moves its own time
// after theirs and lists again, and gives way only after several tries. A login that is about to end a session whose
// time has moved sees that its record has changed, and lists again.
func (s *saving) limit(ctx context.Context) error {
	for rises := 0; ; {
		if err := s.again(ctx); err != nil {
			return err
		}
		peers, err := s.peers(ctx)
		if err != nil {
			return err
		}
		excess := max(0, len(peers)-s.k.MaxSessions)
		own := HandleOf(&s.base)
		isOwn := func(p *peer) bool { return p.handle == own }
		if slices.ContainsFunc(peers[:excess], isOwn) && rises < maxRises { // rule: LimitRise
			rises++
			if gone, err := s.rise(ctx, peers[len(peers)-1].At+1); err != nil || gone {
				return err // a newer login has ended this one
			}
			continue
		}
		changed, err := s.endPeers(ctx, peers[:excess])
		if err != nil || !changed {
			return err
		}
	}
}

// peers returns the live sessions of the principal, the oldest first. It follows tombstones: the session that one leads
// to may not have been in the index when the index was read.
func (s *saving) peers(ctx context.Context) ([]*peer, error) {
	var list []*peer
	found, followed := map[string]*peer{}, map[string]bool{}
	now := time.Now()
	who := s.base.Principal
	for r, err := range s.k.Index.Principal(ctx, who) {
		if err != nil {
			return nil, err
		}
		for err == nil && r.Principal == who && leadsOn(&r) && !followed[r.MovedTo] {
			followed[r.MovedTo] = true
			r, err = s.k.store.Load(ctx, r.MovedTo)
		}
		switch {
		case err != nil && !errors.Is(err, store.ErrNotFound):
			return nil, err
		case err != nil || r.Principal != who || !s.k.Lists(&r, now):
			continue
		}
		own := seniorityOf(&r)
		p := found[HandleOf(&r)]
		if p == nil {
			p = &peer{handle: HandleOf(&r), seniority: own}
			found[p.handle] = p
			list = append(list, p)
		}
		if own.compare(p.seniority) > 0 {
			p.seniority = own
		}
		p.records = slices.DeleteFunc(p.records, func(old store.Record) bool { return old.Key == r.Key })
		p.records = append(p.records, r)
	}
	for _, p := range found {
		if old := found[p.Over]; old != nil { // rule: LimitPair
			list = slices.DeleteFunc(list, func(q *peer) bool { return q == old })
		}
	}
	slices.SortFunc(list, func(a, b *peer) int {
		return cmp.Or(a.compare(b.seniority), cmp.Compare(a.handle, b.handle))
	})
	return list, nil
}

func leadsOn(r *store.Record) bool {
	return r.Kind == store.Renewed || r.Kind == store.Replaced // rule: LimitFollow
}

// endPeers ends sessions. changed reports whether one of them is younger now and so was not ended.
func (s *saving) endPeers(ctx context.Context, peers []*peer) (changed bool, err error) {
	if len(peers) == 0 {
		return false, nil
	}
	var mu sync.Mutex // for the concurrent calls
	began := s.now
	_, err = endEach(recordsOf(peers), 1, anyRecord, func(rs []store.Record) (int, error) {
		r := &rs[0]
		handle, rank := HandleOf(r), seniorityOf(r)
		_, did, err := s.k.end(ctx, *r, began, s.base.Principal, 0, func(now *store.Record) bool {
			if HandleOf(now) != handle {
				return false // another login has taken the session over, and applies the limit itself
			}
			if seniorityOf(now).compare(rank) != 0 { // rule: LimitJudge
				mu.Lock()
				defer mu.Unlock()
				changed = true
				return false
			}
			return true
		})
		if !did {
			return 0, err
		}
		mu.Lock()
		defer mu.Unlock()
		s.endedPeer(r)
		return 1, err
	})
	return changed, err
}

func recordsOf(peers []*peer) iter.Seq2[store.Record, error] {
	return func(yield func(store.Record, error) bool) {
		for _, p := range peers {
			for _, r := range p.records {
				if !yield(r, nil) {
					return
				}
			}
		}
	}
}

// endedPeer adds a note for an ended session, once for each session.
func (s *saving) endedPeer(r *store.Record) {
	handle := HandleOf(r)
	if slices.ContainsFunc(s.c.Notes, func(n Note) bool { return n.Kind == LimitEnded && n.Handle == handle }) {
		return
	}
	s.note(Note{Kind: LimitEnded, Handle: handle, Principal: r.Principal, Label: r.Label})
	if handle == HandleOf(&s.base) {
		s.overtaken = true
	}
}

// rise gives the session of this login a later time. gone reports whether the session has ended.
func (s *saving) rise(ctx context.Context, at int64) (gone bool, err error) {
	for {
		if err := s.again(ctx); err != nil {
			return false, err
		}
		r := s.base
		own := seniorityOf(&r)
		own.At = at
		d, err := with(s.document, own)
		if err == nil {
			err = s.k.Records.encode(s.c, &r, d, s.k.Records.Persistent(d))
		}
		if err != nil {
			return false, err
		}
		r.Version = store.NewVersion()
		if err := s.k.store.Replace(ctx, r, s.base.Version); err == nil {
			s.base, s.document, s.at = r, d, s.now
			return false, nil
		}
		// Another request may have changed the record, or ended the session.
		now, err := s.load(ctx, r.Key)
		switch {
		case errors.Is(err, store.ErrNotFound):
			return true, nil
		case err != nil:
			return false, err
		case now.Version == r.Version:
			s.base, s.document, s.at = r, d, s.now
			return false, nil
		case now.Kind != store.Live:
			return true, nil
		case now.Version != s.base.Version:
			d, err := document.Split(s.k.Records.Serializer, now.Data, now.Public)
			if err != nil {
				return false, err
			}
			s.base, s.document, s.at = now, d, s.now
		}
	}
}
