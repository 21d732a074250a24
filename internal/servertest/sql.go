package servertest

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
)

// The user of the databases, and its password.
const (
	User     = "hipflask"
	Password = "open sesame"
)

const urlUser = User + ":open%20sesame@"

// Postgres starts a PostgreSQL server with an empty database "hipflask". Arguments are settings, such as
// "max_connections=10". What it answered survives Kill, but not a loss of power: fsync is off.
func Postgres(tb TB, settings ...string) *Server {
	tb.Helper()
	const debian, bin = "postgresql", "/usr/lib/postgresql/*/bin/"
	initdb := program(tb, debian, bin+"initdb", "initdb")
	postgres := program(tb, debian, bin+"postgres", "postgres")
	initialized := false
	return launch(tb, &Server{name: "postgres", user: "postgres", answers: postgresAnswers}, func(s *Server) error {
		s.URL = "postgres://" + urlUser + s.Addr + "/" + User
		data := filepath.Join(s.Dir, "data")
		s.command = []string{postgres, "-D", data, "-p", s.Port, "-h", "127.0.0.1", "-k", s.Dir, "-c", "fsync=off"}
		for _, setting := range settings {
			s.command = append(s.command, "-c", setting)
		}
		if initialized {
			return nil
		}
		password, err := s.writeFile("password", Password)
		if err != nil {
			return err
		}
		err = run(s.user, s.Dir, initdb, "-D", data, "-U", User, "-A", "scram-sha-256", "--pwfile", password,
			"--no-sync", "--no-instructions", "--locale=C.UTF-8")
		if err != nil {
			return err
		}
		initialized = true
		return single(s, postgres, data)
	})
}

// single makes the database with the server's own program: no client is needed.
func single(s *Server, postgres, data string) error {
	sql, err := s.writeFile("create.sql", "CREATE DATABASE "+User+";\n")
	if err != nil {
		return err
	}
	return run(s.user, s.Dir, "/bin/sh", "-c", `exec "$1" --single -D "$2" postgres <"$3"`, "sh", postgres, data, sql)
}

// postgresAnswers says hello. A server that takes connections asks for the password; one that is still starting, or
// recovering, answers with an error.
func postgresAnswers(c net.Conn) error {
	hello := "\x00\x03\x00\x00user\x00" + User + "\x00database\x00" + User + "\x00\x00"
	if _, err := c.Write(append([]byte{0, 0, 0, byte(4 + len(hello))}, hello...)); err != nil {
		return err
	}
	answer := make([]byte, 1)
	if _, err := c.Read(answer); err != nil {
		return err
	}
	if answer[0] != 'R' {
		return errors.New("the server is starting")
	}
	return nil
}

// PgBouncer starts a PgBouncer in front of a PostgreSQL server, pooling by transaction. It never prepares a statement
// for a client.
func PgBouncer(tb TB, postgres *Server) *Server {
	tb.Helper()
	path := program(tb, "pgbouncer", "pgbouncer", "/usr/sbin/pgbouncer")
	return launch(tb, &Server{name: "pgbouncer", user: "postgres", answers: postgresAnswers}, func(s *Server) error {
		s.URL = "postgres://" + urlUser + s.Addr + "/" + User
		users, err := s.writeFile("users", fmt.Sprintf("%q %q\n", User, Password))
		if err != nil {
			return err
		}
		config, err := s.writeFile("pgbouncer.ini",
			fmt.Sprintf("[databases]\n* = host=127.0.0.1 port=%s\n[pgbouncer]\n"+
				"listen_addr = 127.0.0.1\nlisten_port = %s\nunix_socket_dir =\nauth_type "+
				"= scram-sha-256\nauth_file = %s\npool_mode = transaction\ndefault_pool_size = 4\nmax_client_conn "+
				"= 200\n", postgres.Port, s.Port, users))
		s.command = []string{path, config}
		return err
	})
}

// MariaDB starts a MariaDB server with an empty database "hipflask". Arguments are settings, such as
// "--max-connections=10". What it answered survives Kill, but not a loss of power.
func MariaDB(tb TB, settings ...string) *Server {
	tb.Helper()
	const debian = "mariadb-server"
	install := program(tb, debian, "mariadb-install-db")
	mariadbd := program(tb, debian, "mariadbd", "/usr/sbin/mariadbd")
	initialized := false
	return launch(tb, &Server{name: "mariadb", user: "mysql", answers: mariadbAnswers}, func(s *Server) error {
		s.URL = "mysql://" + urlUser + s.Addr + "/" + User
		data := filepath.Join(s.Dir, "data")
		sql, err := s.writeFile("init.sql", fmt.Sprintf("CREATE DATABASE IF NOT EXISTS %[1]s;\n"+
			"CREATE USER IF NOT EXISTS %[1]s@'127.0.0.1' IDENTIFIED BY '%[2]s';\nGRANT ALL ON *.* TO "+
			"%[1]s@'127.0.0.1';\n", User, Password))
		if err != nil {
			return err
		}
		s.command = append([]string{
			mariadbd, "--no-defaults", "--datadir=" + data, "--tmpdir=" + s.Dir, "--port=" + s.Port,
			"--bind-address=127.0.0.1",
			"--socket=" + filepath.Join(s.Dir, "sock"), "--pid-file=" + filepath.Join(s.Dir, "pid"),
			"--skip-name-resolve",
			"--innodb-flush-method=nosync", "--innodb-log-file-size=16M", "--max-connect-errors=1000000",
			"--init-file=" + sql,
		}, settings...)
		if initialized {
			return nil
		}
		initialized = true
		// A tmpdir of its own, since a server that starts removes what another one has there.
		return run(s.user, s.Dir, install, "--no-defaults", "--datadir="+data, "--tmpdir="+s.Dir,
			"--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve")
	})
}

// mariadbAnswers reads the greeting: the version of the protocol is its fifth byte.
func mariadbAnswers(c net.Conn) error {
	greeting := make([]byte, 5)
	for n := 0; n < len(greeting); {
		m, err := c.Read(greeting[n:])
		if err != nil {
			return err
		}
		n += m
	}
	if greeting[4] != 10 {
		return errors.New("the server is starting")
	}
	return nil
}

// writeFile writes a file into the server's folder that its user can read.
func (s *Server) writeFile(name, text string) (string, error) {
	path := filepath.Join(s.Dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return "", err
	}
	return path, giveTo(path, s.user)
}
