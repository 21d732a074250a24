// Package sqltest shows tests which statements a store sends through database/sql.
package sqltest

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"sync"
)

// Statement is a prepared statement that was executed.
type Statement struct {
	Text string
	Args []any
}

// Recorder keeps the statements that go through its connections. It is safe for concurrent use.
type Recorder struct {
	mu   sync.Mutex
	sent []Statement
}

// Open returns a database whose connections d makes of a data source name, and whose prepared statements r keeps.
func (r *Recorder) Open(d driver.Driver, name string) *sql.DB {
	return sql.OpenDB(connector{r, d, name})
}

// Take returns the statements since it was last called.
func (r *Recorder) Take() []Statement {
	r.mu.Lock()
	defer r.mu.Unlock()
	sent := r.sent
	r.sent = nil
	return sent
}

type connector struct {
	r    *Recorder
	d    driver.Driver
	name string
}

func (c connector) Driver() driver.Driver { return c.d }

func (c connector) Connect(context.Context) (driver.Conn, error) {
	inner, err := c.d.Open(c.name)
	if err != nil {
		return nil, err
	}
	return conn{inner, c.r}, nil
}

type conn struct {
	driver.Conn
	r *Recorder
}

func (c conn) Prepare(text string) (driver.Stmt, error) {
	inner, err := c.Conn.Prepare(text)
	if err != nil {
		return nil, err
	}
	return stmt{inner, c.r, text}, nil
}

type stmt struct {
	driver.Stmt
	r    *Recorder
	text string
}

func (s stmt) note(args []driver.Value) {
	s.r.mu.Lock()
	defer s.r.mu.Unlock()
	noted := Statement{Text: s.text}
	for _, arg := range args {
		noted.Args = append(noted.Args, arg)
	}
	s.r.sent = append(s.r.sent, noted)
}

// Exec and Query are what database/sql calls where a driver's statements know no contexts.

func (s stmt) Exec(args []driver.Value) (driver.Result, error) {
	s.note(args)
	//lint:ignore SA1019 the simpler of two ways
	return s.Stmt.Exec(args)
}

func (s stmt) Query(args []driver.Value) (driver.Rows, error) {
	s.note(args)
	//lint:ignore SA1019 as above
	return s.Stmt.Query(args)
}
