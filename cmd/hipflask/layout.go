package main

import (
	"cmp"
	"context"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/hipflask/session"
	"github.com/hipflask/session/flask"
	"github.com/hipflask/session/flask/flaskfiles"
	"github.com/hipflask/session/flask/flaskmemcached"
	"github.com/hipflask/session/flask/flaskredis"
	"github.com/hipflask/session/flask/flasksql"
	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/mysqlstore"
	"github.com/hipflask/session/store/pgstore"
	"github.com/hipflask/session/store/sqlitestore"
	"github.com/hipflask/session/store/sqlstore"
	"github.com/hipflask/session/storeurl"
)

// flaskSession stands before the URL of a store that is in Flask-Session's layout.
const flaskSession = "flask-session+"

// openFlaskSession opens a store in Flask-Session's layout. The parameter key_prefix is SESSION_KEY_PREFIX, table is
// SESSION_SQLALCHEMY_TABLE, which has to be there.
func openFlaskSession(ctx context.Context, url string) (storeurl.Store, error) {
	prefix, url := cutParameter(url, "key_prefix")
	scheme, _, _ := strings.Cut(url, ":")
	table := ""
	switch scheme {
	case "postgres", "postgresql", "mysql", "mariadb", "sqlite":
		table, url = cutParameter(url, "table")
	}
	switch scheme {
	case "file":
		return flaskfiles.Open(path(url), &flaskfiles.Options{KeyPrefix: prefix})
	case "memcached":
		return flaskmemcached.Open(ctx, url, &flaskmemcached.Options{KeyPrefix: prefix})
	case "postgres", "postgresql":
		db, err := pgstore.OpenDB(ctx, url)
		return flaskTable(db, err, flasksql.Postgres, table, prefix)
	case "mysql", "mariadb":
		db, err := mysqlstore.OpenDB(ctx, "mysql"+strings.TrimPrefix(url, scheme))
		return flaskTable(db, err, flasksql.MySQL, table, prefix)
	case "sqlite":
		db, err := sqlitestore.OpenDB(ctx, "sqlite:"+path(url), nil)
		return flaskTable(db, err, flasksql.SQLite, table, prefix)
	}
	if strings.HasPrefix(scheme, "redis") || strings.HasPrefix(scheme, "valkey") || scheme == "unix" {
		return flaskredis.Open(ctx, url, &flaskredis.Options{KeyPrefix: prefix})
	}
	return nil, usage("Flask-Session's layout is not known on %q", scheme)
}

// flaskTable makes a store of a database that was opened.
func flaskTable(db sqlstore.DB, err error, d flasksql.Dialect, table, prefix string) (storeurl.Store, error) {
	if err != nil {
		return nil, err
	}
	s, err := flasksql.New(db, d, &flasksql.Options{Table: table, KeyPrefix: prefix})
	if err != nil {
		db.Close()
		return nil, err
	}
	return s, nil
}

// cutParameter takes a parameter out of a URL.
func cutParameter(url, name string) (value, rest string) {
	base, query, ok := strings.Cut(url, "?")
	if !ok {
		return "", url
	}
	var others []string
	for pair := range strings.SplitSeq(query, "&") {
		if v, is := strings.CutPrefix(pair, name+"="); is {
			value = v
		} else {
			others = append(others, pair)
		}
	}
	if others == nil {
		return value, base
	}
	return value, base + "?" + strings.Join(others, "&")
}

// lists is what migrate needs of FROM: that it lists all. Flask-Session's layouts have no list by principal.
type lists interface {
	All(ctx context.Context) iter.Seq2[store.Record, error]
}

// isForeign tells whether a store is in another framework's layout.
func isForeign(s store.Store) bool {
	_, foreign := store.As[interface{ Layout() string }](s)
	return foreign
}

// whoIs reads Flask-Login's user from a session's values.
var whoIs = func() session.Policy {
	f, err := flask.SID(nil, "")
	if err != nil {
		panic(err) // it takes no keys
	}
	return f.(session.Policy)
}()

// adapt makes of a record of FROM what TO is given: it fills in what a foreign layout has no room for, and encodes for
// Flask-Session what is JSON here.
func (m *migration) adapt(r *store.Record) {
	if isForeign(m.from) && r.Kind == store.Live {
		if members, err := flask.Msgpack.Split(r.Data); err == nil {
			r.Principal = whoIs.Principal(func(key string, pointer any) (ok bool) {
				for _, member := range members {
					if member.Name == key {
						ok = flask.Msgpack.Unmarshal(member.Value, pointer) == nil
					}
				}
				return ok
			})
		}
	}
	if isForeign(m.to) && r.Kind == store.Live {
		if members, err := flask.Msgpack.Split(r.Data); err == nil {
			slices.SortFunc(members, func(a, b session.Member) int { return cmp.Compare(a.Name, b.Name) })
			if data, err := flask.Msgpack.Join(members); err == nil {
				r.Data = data
			}
		}
	}
	if r.Handle == "" {
		r.Handle = session.InfoOf(*r).Handle
	}
	for r.Version == 0 || r.Version > 1<<63-1 {
		r.Version = store.NewVersion()
	}
	if r.LastSeenAt.IsZero() {
		if r.LastSeenAt = r.ExpiresAt.Add(-flaskLifetime); r.LastSeenAt.After(time.Now()) {
			r.LastSeenAt = time.Now()
		}
	}
	if r.CreatedAt.IsZero() {
		r.CreatedAt = r.LastSeenAt
	}
}
