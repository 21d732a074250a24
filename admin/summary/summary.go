// Package summary counts sessions: how many, whose, how old.
package summary

import (
	"time"

	"github.com/hipflask/session"
)

// A Bucket counts sessions whose age is below a bound, and not below the bucket's before.
type Bucket struct {
	Below time.Duration // zero in the last: any age
	Name  string        // "1-5 min"
	Idle  int           // by the time since they were last seen
	Age   int           // by the time since they were created
}

// Summary is what can be told of any number of sessions in constant memory.
type Summary struct {
	Total, LoggedIn, Anonymous int
	Buckets                    []Bucket
	now                        time.Time
}

// New returns a Summary without sessions. Ages count to now.
func New(now time.Time) *Summary {
	return &Summary{now: now, Buckets: []Bucket{
		{Below: time.Minute, Name: "under 1 min"},
		{Below: 5 * time.Minute, Name: "1-5 min"},
		{Below: 15 * time.Minute, Name: "5-15 min"},
		{Below: time.Hour, Name: "15-60 min"},
		{Below: 6 * time.Hour, Name: "1-6 h"},
		{Below: 24 * time.Hour, Name: "6-24 h"},
		{Below: 7 * 24 * time.Hour, Name: "1-7 days"},
		{Below: 30 * 24 * time.Hour, Name: "7-30 days"},
		{Name: "over 30 days"},
	}}
}

// Add counts a session.
func (s *Summary) Add(i session.Info) {
	s.Total++
	if i.Principal == "" {
		s.Anonymous++
	} else {
		s.LoggedIn++
	}
	s.bucket(i.LastSeenAt).Idle++
	s.bucket(i.CreatedAt).Age++
}

func (s *Summary) bucket(t time.Time) *Bucket {
	age := s.now.Sub(t)
	for i := range s.Buckets {
		if b := &s.Buckets[i]; b.Below == 0 || age < b.Below {
			return b
		}
	}
	panic("summary: the last bucket has a bound")
}
