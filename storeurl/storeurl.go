// Package storeurl opens any store of this repository by a URL: for programs whose users decide where sessions are
// kept. A program that knows imports that store's package alone, and not the clients of all.
//
//	s, err := storeurl.Open(ctx, os.Getenv("SESSION_STORE"))
//	if err != nil {
//		log.Fatal(err)
//	}
//	defer s.Close()
//	sessions, err := session.New(session.Config{SecretKey: key, Store: s})
//
// # URLs
//
//	memory:                                               memstore
//	file:DIR                                              filestore
//	sqlite:FILE                                           sqlitestore
//	redis://user:password@host:port/database              redisstore
//	redis+sentinel://host1,host2,host3/master             redisstore
//	postgres://user:password@host:port/database           pgstore
//	mysql://user:password@host:port/database              mysqlstore
//	memcached://host1:port,host2:port                     memcachedstore
//
// rediss and rediss+sentinel are redis with TLS, several hosts of redis a cluster, unix:///path is Redis on a socket;
// valkey, valkeys, postgresql and mariadb are other names. What follows the scheme is what the Open of the store's
// package takes, and described there. Special characters of user names and passwords are written as %XX. DIR and FILE
// are paths as they are, without %XX, relative ones too; file:///DIR and sqlite:///FILE are absolute.
//
// # Parameters
//
// Options of a store are parameters behind a question mark, as in file:/var/lib/shop/sessions?sync=true. Each may stand
// there once:
//
//	memory               max_sessions, max_bytes          numbers
//	file                 sync                             true or false
//	sqlite               table; sync                      a name; true or false
//	postgres             table; unlogged                  a name; true or false
//	mysql                table                            a name
//	redis                prefix; replicas                 a text; a number
//	memcached            prefix; max_conns                a text; a number
//
// They mean what the fields of that name in the Options of the store's package mean. For redis, postgres and mysql
// there may be parameters of the connection besides, such as sslmode. Any other is an error.
package storeurl

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/filestore"
	"github.com/hipflask/session/store/memcachedstore"
	"github.com/hipflask/session/store/memstore"
	"github.com/hipflask/session/store/mysqlstore"
	"github.com/hipflask/session/store/pgstore"
	"github.com/hipflask/session/store/redisstore"
	"github.com/hipflask/session/store/sqlitestore"
)

// Store is a store that can be closed. What [Open] returns is the store of the scheme's package itself, so that it is a
// [store.Lister], a [store.Sweeper] and a [store.Evicter] where that is.
type Store interface {
	store.Store

	// Close releases what Open made: connections, files, folders. It may be called again.
	Close() error
}

// Open returns the store that url names, ready for use: a table that isn't there is made, one of an older version
// brought up to date. It connects once, to fail early, and returns soon after ctx ends; ctx has no meaning later.
// Errors say what is wrong and contain no part of the URL but its scheme, as there are passwords in it.
func Open(ctx context.Context, url string) (Store, error) {
	name, rest, found := strings.Cut(url, ":")
	s, known := schemes[name]
	switch {
	case !found:
		return nil, fmt.Errorf("storeurl: the URL begins with no scheme: %s", choice())
	case !known:
		return nil, fmt.Errorf("storeurl: the scheme%s is unknown: %s", quote(name, rest), choice())
	}
	l := read(name, rest, s)
	open := s.prepare(l)
	if l.err != nil {
		return nil, fmt.Errorf("storeurl: %s: %w", name, l.err)
	}
	return open(ctx)
}

// choice names the schemes.
func choice() string {
	return "it is one of " + strings.Join(slices.Sorted(maps.Keys(schemes)), ", ")
}

// quote returns a scheme for an error, if it can be nothing else: "user:password@..." begins with a name, too.
func quote(name, rest string) string {
	for _, c := range name {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '+' {
			return ""
		}
	}
	if len(name) > 20 || !strings.HasPrefix(rest, "//") && strings.Contains(rest, "@") {
		return ""
	}
	return fmt.Sprintf(" %q", name)
}

// scheme is how the URLs of one store are opened.
type scheme struct {
	params  []string // that are options of the store
	more    bool     // the store's package reads further ones
	prepare func(*location) opener
}

// opener does what needs I/O; its errors name the package that they come from.
type opener func(context.Context) (Store, error)

var (
	redisScheme    = scheme{nil, true, redis}
	postgresScheme = scheme{[]string{"table", "unlogged"}, true, postgres}
	mysqlScheme    = scheme{[]string{"table"}, true, mysql}

	schemes = map[string]scheme{
		"redis": redisScheme, "rediss": redisScheme, "redis+sentinel": redisScheme, "rediss+sentinel": redisScheme,
		"valkey": redisScheme, "valkeys": redisScheme, "valkey+sentinel": redisScheme, "valkeys+sentinel": redisScheme,
		"unix":     redisScheme,
		"postgres": postgresScheme, "postgresql": postgresScheme,
		"mysql": mysqlScheme, "mariadb": mysqlScheme,
		"sqlite":    {[]string{"table", "sync"}, false, sqlite},
		"memcached": {[]string{"prefix", "max_conns"}, false, memcached},
		"file":      {[]string{"sync"}, false, file},
		"memory":    {[]string{"max_sessions", "max_bytes"}, false, memory},
	}
)

func redis(l *location) opener {
	return func(ctx context.Context) (Store, error) { return opened(redisstore.Open(ctx, l.url(l.scheme), nil)) }
}

func memcached(l *location) opener {
	opts := &memcachedstore.Options{Prefix: l.text("prefix"), MaxConns: int(l.number("max_conns"))}
	return func(ctx context.Context) (Store, error) {
		return opened(memcachedstore.Open(ctx, l.url(l.scheme), opts))
	}
}

func postgres(l *location) opener {
	opts := &pgstore.Options{Table: l.text("table"), Unlogged: l.flag("unlogged")}
	return func(ctx context.Context) (Store, error) {
		s, err := pgstore.Open(ctx, l.url(l.scheme), opts)
		return migrated(ctx, s, err)
	}
}

func mysql(l *location) opener {
	opts := &mysqlstore.Options{Table: l.text("table")}
	return func(ctx context.Context) (Store, error) {
		s, err := mysqlstore.Open(ctx, l.url("mysql"), opts)
		return migrated(ctx, s, err)
	}
}

func sqlite(l *location) opener {
	path, opts := l.path(), &sqlitestore.Options{Table: l.text("table"), Sync: l.flag("sync")}
	return func(ctx context.Context) (Store, error) {
		s, err := sqlitestore.Open(ctx, "sqlite:"+path, opts)
		return migrated(ctx, s, err)
	}
}

func file(l *location) opener {
	path, opts := l.path(), &filestore.Options{Sync: l.flag("sync")}
	return func(context.Context) (Store, error) { return opened(filestore.Open(path, opts)) }
}

func memory(l *location) opener {
	opts := &memstore.Options{MaxSessions: int(l.number("max_sessions")), MaxBytes: l.number("max_bytes")}
	if l.rest != "" {
		l.fail(errors.New("nothing but parameters may follow"))
	}
	return func(context.Context) (Store, error) { return closable{memstore.New(opts)}, nil }
}

// closable is a memstore that can be closed, as all others can.
type closable struct{ *memstore.Store }

func (closable) Close() error { return nil }

// opened makes no Store of a nil pointer.
func opened[S Store](s S, err error) (Store, error) {
	if err != nil {
		return nil, err
	}
	return s, nil
}

// migrated brings the table of a store that was opened up to date.
func migrated[S interface {
	Store
	Migrate(context.Context) error
}](ctx context.Context, s S, err error) (Store, error) {
	if err != nil {
		return nil, err
	}
	if err := s.Migrate(ctx); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}
