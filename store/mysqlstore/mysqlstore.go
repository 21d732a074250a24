// Package mysqlstore keeps sessions in a table of MySQL, 8.0 or later, or of MariaDB, 10.6 or later:
//
//	s, err := mysqlstore.Open(ctx, "mysql://shop:secret@db.example/shop?tls=true", nil)
//	if err != nil {
//		log.Fatal(err)
//	}
//	defer s.Close()
//	if err := s.Migrate(ctx); err != nil { // makes the table
//		log.Fatal(err)
//	}
//	sessions, err := session.New(session.Config{SecretKey: key, Store: s})
//
// It is tested with MariaDB 10.11. The statements keep to what MySQL's manual says as well; they were not run there.
//
// Every method is one statement and one round trip; two where a Replace or Touch finds another version, or a listing is
// longer than a page. Statements are prepared once on each connection, so that no value is ever part of a text.
//
// # At most once
//
// database/sql sends a statement again if the driver answers driver.ErrBadConn. This driver does so where it could send
// no byte of it, or found before that the connection had ended, or, with rejectReadOnly=true, where the server refused
// to write; nowhere else (v1.10.1, writePacket, ResetSession and handleErrorPacket). The victim of a deadlock, which
// the server has undone, is sent again here.
//
// # The primary
//
// The connections must lead to the primary, not to a replica, nor to a proxy that sends SELECTs to one: a replica
// answers with what was true a moment ago, so that a session that was logged out would still be there.
//
// # What survives
//
// A write that was answered survives the end of the program, and of the server, as far as the server's settings say so:
// with innodb_flush_log_at_trx_commit=1, the default, also the loss of power; with 2 that takes back about a second, so
// that a session which was logged out in it may be back; with 0 a crash of the server does, too. A failover to an
// asynchronous replica takes back what had not reached it.
//
// # Expiry
//
// The clock of the server decides, to the millisecond, in UTC whatever its time zone. Sweep removes rows of 500 in one
// statement.
package mysqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"net/url"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/sqlstore"
)

// Options are the settings of a Store. The zero value is the default.
type Options struct {
	// Table is the name of the table, with or without a database: letters, digits and "_", at most 50 bytes each.
	// Default: "hipflask_sessions", in the connection's database. The name with _schema at its end is used too.
	Table string

	_ struct{} // no unkeyed literals: fields may be added
}

// Store keeps records in a table. It implements [store.Store], [store.Lister] and [store.Sweeper]. Its methods are safe
// for concurrent use. Make one with [New] or [Open].
type Store struct{ engine }

// engine has the methods of package store, which say there what they do; the field's name is hidden, they are not.
type engine = *sqlstore.Store

var (
	_ store.Store   = (*Store)(nil)
	_ store.Lister  = (*Store)(nil)
	_ store.Sweeper = (*Store)(nil)
)

// Migrate makes the table, or what is new in it since an earlier release, and leaves one of a later release as it is.
// Any number of processes may call it at once, and again: which steps a table has seen stands in a second one, whose
// name ends in _schema. It needs the right to CREATE, though not where nothing is to be made. An error says what is
// missing.
func (s *Store) Migrate(ctx context.Context) error { return s.engine.Migrate(ctx) }

// Ping returns nil if the database answers: for a check of the application's health.
func (s *Store) Ping(ctx context.Context) error { return s.engine.Ping(ctx) }

// Close closes the connections, if [Open] has made the Store. It waits for calls in flight; later ones fail. It may be
// called again.
func (s *Store) Close() error { return s.engine.Close() }

// New returns a Store that uses a database of go-sql-driver/mysql, which stays the caller's: Close leaves it open. Nil
// opts are the defaults. It sends nothing; call Migrate before the first use. The connections may have any settings but
// autocommit=0. Set SetMaxIdleConns to what SetMaxOpenConns is, or many statements begin with a new connection when
// many run at once.
func New(db *sql.DB, opts *Options) (*Store, error) {
	if db == nil {
		return nil, errors.New("mysqlstore: the database is nil")
	}
	return newStore(NewDB(db), opts)
}

func newStore(db sqlstore.DB, opts *Options) (*Store, error) {
	if opts == nil {
		opts = new(Options)
	}
	s, err := sqlstore.New(db, sqlstore.MySQL, &sqlstore.Options{Name: "mysqlstore", Table: opts.Table})
	if err != nil {
		return nil, err
	}
	return &Store{s}, nil
}

// The pool of Open. Connections are renewed before a firewall or wait_timeout ends them, and so that they find a new
// primary after a failover.
const (
	maxConns    = 16
	maxLifetime = 3 * time.Minute
	dialTimeout = 5 * time.Second
)

// Open returns a Store with at most 16 connections of its own, which Close closes. url is
// "mysql://user:password@host:port/database?setting=value", with special characters as %XX; the port is 3306 by
// default. Settings are those of go-sql-driver/mysql, such as tls=true; socket=/run/mysqld/mysqld.sock connects there
// and not to a host. Open connects once, to fail early; the table is made by Migrate. Nil opts are the defaults.
func Open(ctx context.Context, url string, opts *Options) (*Store, error) {
	db, err := OpenDB(ctx, url)
	if err != nil {
		return nil, err
	}
	s, err := newStore(db, opts)
	if err != nil {
		db.Close()
		return nil, err
	}
	return s, nil
}

// OpenDB connects as [Open] does and returns the database, whose Close closes the connections: for other packages that
// keep tables by package sqlstore.
func OpenDB(ctx context.Context, url string) (sqlstore.DB, error) {
	config, err := parseURL(url)
	if err != nil {
		return nil, fmt.Errorf("mysqlstore: URL: %w", err)
	}
	connector, err := mysql.NewConnector(config)
	if err != nil { // which quotes settings
		return nil, errors.New("mysqlstore: URL: a setting is refused by go-sql-driver/mysql")
	}
	handle := sql.OpenDB(connector)
	handle.SetMaxOpenConns(maxConns)
	handle.SetMaxIdleConns(maxConns)
	handle.SetConnMaxLifetime(maxLifetime)
	db := ownDB{newDB(handle, true)}
	if err := sqlstore.NewClient("mysqlstore", db).Ping(ctx); err != nil {
		db.Close()
		return nil, err
	}
	return db, nil
}

// ownDB is a database of [OpenDB]. The driver's only error of Close is a COM_QUIT that a broken connection didn't take.
type ownDB struct{ sqlstore.DB }

// Close implements [sqlstore.DB].
func (db ownDB) Close() error {
	_ = db.DB.Close()
	return nil
}

// parseURL makes the driver's configuration of a URL. Its errors name no part of it.
func parseURL(text string) (*mysql.Config, error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "mysql" || len(u.Path) < 2 {
		return nil, errors.New("it is not of the form mysql://user:password@host:port/database?setting=value, " +
			"with special characters as %XX")
	}
	settings := u.Query()
	network, address := "tcp", u.Host
	if socket := settings.Get("socket"); socket != "" {
		network, address = "unix", socket
		settings.Del("socket")
	} else if u.Port() == "" {
		address = net.JoinHostPort(u.Hostname(), "3306")
	}
	config, err := mysql.ParseDSN("/?" + settings.Encode())
	if err != nil {
		return nil, errors.New("a setting is not one of go-sql-driver/mysql")
	}
	config.Net, config.Addr, config.DBName = network, address, u.Path[1:]
	config.User = u.User.Username()
	config.Passwd, _ = u.User.Password()
	config.ClientFoundRows = true
	config.Logger = &mysql.NopLogger{} // errors are returned
	if config.Timeout == 0 {
		config.Timeout = dialTimeout
	}
	return config, nil
}
