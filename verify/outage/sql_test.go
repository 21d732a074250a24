package outage_test

import (
	"context"

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

// full fills a disk, and makes room again. Reads, and what fits into pages that are there, go well meanwhile.
func (x *trial) full(d *servertest.Disk) {
	if err := d.Fill(); err != nil {
		x.t.Fatal(err)
	}
	x.failsSomewhere()
	x.site.Read(x.t.Context(), 1)
	if err := d.Free(); err != nil {
		x.t.Fatal(err)
	}
}
