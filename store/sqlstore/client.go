package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// ErrScan is returned instead of the error of a scan, which can quote the value that it was given. A function that
// scans rows for a [Client] returns it if scanning fails.
var ErrScan = errors.New("a column has another type: is the table one of this package?")

// Client runs the statements of a store. It sends a statement again that the server has undone, returns soon after the
// context has ended, fails once it is closed, and returns errors that name the package and the step and contain no
// data. Its methods are safe for concurrent use. A [Store] has one; so may a package that keeps sessions in a table of
// another layout.
type Client struct {
	// DB is the database. Its errors are not cleaned: call it within [Client.Run].
	DB DB

	name   string
	closed atomic.Bool
	close  sync.Once
}

// NewClient returns a Client that closes db. name is the package whose users read the errors.
func NewClient(name string, db DB) *Client { return &Client{DB: db, name: name} }

// Ping returns nil if the database answers.
func (c *Client) Ping(ctx context.Context) error {
	return c.Run(ctx, "open", func() error {
		return c.DB.Query(ctx, "SELECT 1", func(func(...any) error) error { return nil })
	})
}

// Exec runs a statement, outside a transaction, and returns how many rows it has changed. step names it in errors.
func (c *Client) Exec(ctx context.Context, step, query string, args ...any) (n int64, err error) {
	err = c.Run(ctx, step, func() (err error) {
		n, err = c.DB.Exec(ctx, query, args...)
		return err
	})
	return n, err
}

// patience bounds how long a statement is sent again if the context allows more.
const (
	patience     = 10 * time.Second
	longestPause = 50 * time.Millisecond
)

// Run calls fn, and calls it again while its error says that the server has undone what it sent, for 10 seconds at
// most. Then nothing was applied, so that this is no retry of a write whose outcome is unknown. fn sends one statement
// or one transaction, by c.DB, and resets first what an earlier call has scanned.
func (c *Client) Run(ctx context.Context, step string, fn func() error) error {
	began := time.Now()
	for pause := time.Millisecond; ; pause = min(2*pause, longestPause) {
		if err := c.Err(ctx, step); err != nil {
			return err
		}
		err := fn()
		if err == nil {
			return nil
		}
		if err := c.Err(ctx, step); err != nil {
			return err
		}
		if !c.DB.Undone(err) || time.Since(began) > patience {
			return c.failed(step, err)
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
	}
}

// Err returns an error if the context has ended or the Client is closed.
func (c *Client) Err(ctx context.Context, step string) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%s: %s: %w", c.name, step, err)
	}
	if c.closed.Load() {
		return fmt.Errorf("%s: %s: the store is closed", c.name, step)
	}
	return nil
}

// Close closes the DB; later calls of other methods fail. It may be called again.
func (c *Client) Close() error {
	var err error
	c.close.Do(func() {
		c.closed.Store(true)
		err = c.DB.Close()
	})
	if err != nil {
		return c.failed("close", err)
	}
	return nil
}

// failed returns an error for users of the store, without what the client library's may contain.
func (c *Client) failed(step string, err error) error {
	if errors.Is(err, ErrScan) {
		return fmt.Errorf("%s: %s: %w", c.name, step, ErrScan)
	}
	return fmt.Errorf("%s: %s: %w", c.name, step, c.DB.Clean(err))
}
