package mysqlstore_test

import (
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/hipflask/session/internal/servertest"
	"github.com/hipflask/session/store/internal/sqltest"
	"github.com/hipflask/session/store/mysqlstore"
)

// No text of an error tells the password, nor anything else of the URL that the server itself does not say.
func TestOpenFails(t *testing.T) {
	t.Parallel()
	good := server().URL
	nobody := "127.0.0.1:" + servertest.FreePort(t)
	for _, row := range []struct{ name, url, table, want string }{
		{"wrong password", strings.Replace(good, "open%20sesame", "open%20barley", 1), "", "error 1045"},
		{"no such database", good + "_none", "", "error 1049"},
		{"nobody there", "mysql://hipflask:barley@" + nobody + "/x", "", "refused"},
		{"no TLS", good + "?tls=true", "", "TLS"},
		{"no URL", "mysql://hipflask:barley@[::1", "", "not of the form"},
		{"no database", "mysql://hipflask:barley@127.0.0.1", "", "not of the form"},
		{"another scheme", "barley://hipflask:barley@127.0.0.1/x", "", "not of the form"},
		{"a driver's DSN", "hipflask:barley@tcp(127.0.0.1)/x", "", "not of the form"},
		{"a bad setting", good + "?timeout=barley", "", "setting"},
		{"an unknown TLS configuration", good + "?tls=barley", "", "setting"},
		{"a bad table", good, "barley barley", "Table"},
	} {
		_, err := mysqlstore.Open(t.Context(), row.url, &mysqlstore.Options{Table: row.table})
		if err == nil || !strings.Contains(err.Error(), row.want) || !strings.HasPrefix(err.Error(), "mysqlstore: ") {
			t.Errorf("%s: got error %v, want one with %q", row.name, err, row.want)
		}
		if err != nil && strings.Contains(err.Error(), "barley") {
			t.Errorf("%s: the error quotes: %v", row.name, err)
		}
	}
}

func TestOpenBySocket(t *testing.T) {
	t.Parallel()
	url := "mysql://root@/" + servertest.User + "?socket=" + filepath.Join(server().Dir, "sock")
	sqltest.Create(t, open(t, url, &mysqlstore.Options{Table: sqltest.Table()}), sqltest.NewRecord("ann"))
}

// A server that can't be written to is an error that says so, and never an answer about the record.
func TestReadOnly(t *testing.T) {
	t.Parallel()
	opts := &mysqlstore.Options{Table: sqltest.Table()}
	rec := sqltest.Create(t, open(t, server().URL, opts), sqltest.NewRecord("ann"))
	s, err := mysqlstore.Open(t.Context(), server().URL+"?tx_read_only=1", opts)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	sqltest.ReadOnly(t, s, rec)
}

// Connections that end in the middle are errors; what was answered is there, and the Store goes on.
func TestConnectionsAreKilled(t *testing.T) {
	t.Parallel()
	name := sqltest.Table()
	run(t, "CREATE USER "+name+"@127.0.0.1 IDENTIFIED BY 'secret'",
		"GRANT ALL ON "+servertest.User+".* TO "+name+"@127.0.0.1")
	s := open(t, strings.Replace(server().URL, servertest.User+":open%20sesame", name+":secret", 1),
		&mysqlstore.Options{Table: name})
	sqltest.Killed(t, s, func() { run(t, "KILL USER '"+name+"'") })
}

// A server that swallows everything keeps nobody longer than the context.
func TestServerHangs(t *testing.T) {
	t.Parallel()
	proxy := servertest.NewProxy(t, server().Addr)
	s := open(t, strings.Replace(server().URL, server().Addr, proxy.Addr, 1),
		&mysqlstore.Options{Table: sqltest.Table()})
	sqltest.Hangs(t, s, proxy)
}

// A connection that the network has reset is closed as well as one that answers.
func TestCloseAfterReset(t *testing.T) {
	t.Parallel()
	proxy := servertest.NewProxy(t, server().Addr)
	s, err := mysqlstore.Open(t.Context(), strings.Replace(server().URL, server().Addr, proxy.Addr, 1),
		&mysqlstore.Options{Table: sqltest.Table()})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 4 { // so that connections are idle on which no statement was prepared, whose close would come first
		wg.Go(func() {
			if err := s.Migrate(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	proxy.Reset()
	if err := s.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
}
