// Package summary counts sessions by login and by age, in constant memory however many there are. The admin page and
// "hipflask stats" show it.
package summary

import (
	"time"

	"github.com/hipflask/session"
)

// Bucket counts the sessions whose age is below its bound but not below that of the bucket before it.
type Bucket struct {
	Below time.Duration // the bound; zero in the last bucket, which has none
	Name  string        // for people, such as "1-5 min"
	Idle  int           // sessions by the time since they were last seen
	Age   int           // sessions by the time since they were created
}

// Summary is the count. Make one with [New]. Its methods are not safe for concurrent use.
type Summary struct {
	Total, LoggedIn, Anonymous int
	Buckets                    []Bucket
	now                        time.Time
}

// New returns a Summary of no sessions. Ages are counted up to now.
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

// Add counts a session, such as one that [session.Manager.All] yields.
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
