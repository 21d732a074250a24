package outage_test

import (
	"context"
	"time"

	"github.com/hipflask/session/internal/servertest"
	"github.com/hipflask/session/store"
)

// migrator is an SQL store.
type migrator interface {
	store.Store
	Migrate(context.Context) error
}

// migrated returns an opened store with its table.
func migrated(ctx context.Context, s migrator, err error) (store.Store, error) {
	if err != nil {
		return nil, err
	}
	return s, s.Migrate(ctx)
}

// full fills a disk, and makes room again. What fits into pages that are there goes well meanwhile.
func (x *trial) full(d *servertest.Disk) {
	if err := d.Fill(); err != nil {
		x.t.Fatal(err)
	}
	before := x.site.Failures()
	for deadline := time.Now().Add(time.Minute); x.site.Failures() < before+5; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			x.t.Fatal("on a full disk everything goes well")
		}
	}
	if err := d.Free(); err != nil {
		x.t.Fatal(err)
	}
}
