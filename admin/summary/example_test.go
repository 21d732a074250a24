package summary_test

import (
	"fmt"
	"time"

	"github.com/hipflask/session"
	"github.com/hipflask/session/admin/summary"
)

func Example() {
	now := time.Now()
	s := summary.New(now)
	for _, i := range []session.Info{ // of a Manager: for i, err := range sessions.All(ctx)
		{Principal: "ann", LastSeenAt: now, CreatedAt: now.Add(-2 * time.Hour)},
		{LastSeenAt: now.Add(-2 * time.Minute), CreatedAt: now.Add(-3 * time.Minute)},
	} {
		s.Add(i)
	}
	fmt.Println(s.Total, s.LoggedIn, s.Anonymous)
	for _, b := range s.Buckets {
		if b.Idle+b.Age > 0 {
			fmt.Println(b.Name, b.Idle, b.Age)
		}
	}
	// Output:
	// 2 1 1
	// under 1 min 1 0
	// 1-5 min 1 1
	// 1-6 h 0 1
}
