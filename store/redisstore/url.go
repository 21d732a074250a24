package redisstore

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"
)

var (
	errScheme   = errors.New("its scheme is unknown: redis://, rediss://, unix:// and redis+sentinel:// are known")
	errEncoding = errors.New("it is badly encoded: special characters of user names and passwords are percent-encoded")
	errDatabase = errors.New("the database is no number")
)

// A location is a URL in parts. Package net/url is no help with several hosts.
type location struct {
	scheme string
	user   *url.Userinfo
	hosts  string
	path   string // without the first slash
	params url.Values
}

func split(text string) (l location, err error) {
	var ok bool
	if l.scheme, text, ok = strings.Cut(text, "://"); !ok {
		return l, errScheme
	}
	text, query, _ := strings.Cut(text, "?")
	authority, path, _ := strings.Cut(text, "/")
	if at := strings.LastIndexByte(authority, '@'); at >= 0 {
		if l.user, err = userinfo(authority[:at]); err != nil {
			return l, errEncoding
		}
		authority = authority[at+1:]
	}
	l.hosts = authority
	if l.path, err = url.PathUnescape(path); err != nil {
		return l, errEncoding
	}
	if l.params, err = url.ParseQuery(query); err != nil {
		return l, errEncoding
	}
	return l, nil
}

func userinfo(text string) (*url.Userinfo, error) {
	name, password, _ := strings.Cut(text, ":")
	name, err := url.PathUnescape(name)
	if err != nil {
		return nil, err
	}
	password, err = url.PathUnescape(password)
	return url.UserPassword(name, password), err
}

// take returns a parameter and strikes it off.
func (l *location) take(name string) string {
	value := l.params.Get(name)
	l.params.Del(name)
	return value
}

// parseURL returns the settings of the client that a URL names. Unless opts are nil it sets in them what the URL says
// about the store.
func parseURL(text string, opts *Options) (rueidis.ClientOption, error) {
	option := clientDefaults()
	l, err := split(text)
	if err != nil {
		return option, err
	}
	if l.user != nil {
		option.Username = l.user.Username()
		option.Password, _ = l.user.Password()
	}
	plain, sentinel := strings.CutSuffix(l.scheme, "+sentinel")
	secure := plain == "rediss" || plain == "valkeys"
	switch {
	case l.scheme == "unix":
		err = l.socket(&option)
	case !secure && plain != "redis" && plain != "valkey":
		err = errScheme
	case sentinel:
		err = l.sentinels(&option)
	default:
		err = l.servers(&option)
	}
	if err == nil && secure {
		err = l.tls(&option)
	}
	if err == nil && opts != nil {
		err = l.store(opts)
	}
	for name := range l.params {
		if err == nil {
			err = fmt.Errorf("the parameter %q is unknown, or means nothing for this scheme", name)
		}
	}
	return option, err
}

// servers reads host:port/database, of one server or of a cluster's nodes.
func (l *location) servers(option *rueidis.ClientOption) (err error) {
	if option.InitAddress, err = l.addresses("6379"); err != nil {
		return err
	}
	option.ForceSingleClient = len(option.InitAddress) == 1 && !l.params.Has("cluster")
	l.take("cluster")
	if err := l.database(option, l.path); err != nil {
		return err
	}
	if !option.ForceSingleClient && option.SelectDB != 0 {
		return errors.New("a cluster has only database 0")
	}
	return nil
}

// sentinels reads host:port,host:port/name/database.
func (l *location) sentinels(option *rueidis.ClientOption) (err error) {
	if option.InitAddress, err = l.addresses("26379"); err != nil {
		return err
	}
	name, database, _ := strings.Cut(l.path, "/")
	if name == "" {
		return errors.New("the master's name is missing: redis+sentinel://HOST:PORT/NAME")
	}
	option.Sentinel.MasterSet = name
	option.Sentinel.ClientName = option.ClientName
	option.Sentinel.Username = l.take("sentinel_user")
	option.Sentinel.Password = l.take("sentinel_password")
	return l.database(option, database)
}

// socket reads the path of a socket.
func (l *location) socket(option *rueidis.ClientOption) error {
	if l.hosts != "" || l.path == "" {
		return errors.New("a socket's path begins with a third slash: unix:///run/redis.sock")
	}
	option.InitAddress = []string{"/" + l.path}
	option.ForceSingleClient = true
	option.DialCtxFn = func(ctx context.Context, path string, dialer *net.Dialer, _ *tls.Config) (net.Conn, error) {
		return dialer.DialContext(ctx, "unix", path)
	}
	return l.database(option, "")
}

func (l *location) addresses(defaultPort string) ([]string, error) {
	var all []string
	for address := range strings.SplitSeq(l.hosts, ",") {
		host, port, err := net.SplitHostPort(address)
		if err != nil { // no port
			host, port = strings.TrimSuffix(strings.TrimPrefix(address, "["), "]"), defaultPort
		}
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 || host == "" {
			return nil, errors.New("a host is missing, or a port is no number")
		}
		all = append(all, net.JoinHostPort(host, port))
	}
	return all, nil
}

func (l *location) database(option *rueidis.ClientOption, text string) error {
	if db := l.take("db"); text == "" {
		text = db
	}
	if text == "" {
		return nil
	}
	n, err := strconv.ParseUint(text, 10, 31)
	if err != nil {
		return errDatabase
	}
	option.SelectDB = int(n)
	return nil
}

func (l *location) tls(option *rueidis.ClientOption) error {
	config := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: l.take("server_name")}
	if file := l.take("ca"); file != "" {
		pem, err := os.ReadFile(file)
		if err != nil {
			return fmt.Errorf("parameter ca: %w", err)
		}
		if config.RootCAs = x509.NewCertPool(); !config.RootCAs.AppendCertsFromPEM(pem) {
			return errors.New("parameter ca: there is no certificate in the file")
		}
	}
	if cert, key := l.take("cert"), l.take("key"); cert != "" || key != "" {
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			return fmt.Errorf("parameters cert and key: %w", err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	option.TLSConfig = config
	option.Sentinel.TLSConfig = config
	return nil
}

func (l *location) store(opts *Options) error {
	if prefix := l.take("prefix"); opts.Prefix == "" {
		opts.Prefix = prefix
	}
	if replicas := l.take("replicas"); replicas != "" {
		n, err := strconv.Atoi(replicas)
		if err != nil {
			return errors.New("parameter replicas: it is no number")
		}
		if opts.Replicas == 0 {
			opts.Replicas = n
		}
	}
	if text := l.take("max_stale"); text != "" {
		d, err := time.ParseDuration(text)
		if err != nil {
			return errors.New("parameter max_stale: it is no duration such as 2s")
		}
		if opts.MaxStale == 0 {
			opts.MaxStale = d
		}
	}
	return nil
}
