package redisstore

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/redis/rueidis"

	"github.com/hipflask/session/store"
)

// What Open sets for its clients. A client has to give up a silent server before the requests that wait for it are
// given up: StoreTimeout of a session.Manager is 5 s by default.
const (
	dialTimeout     = 2 * time.Second
	silence         = 5 * time.Second // until a connection without answers counts as broken
	topologyRefresh = 5 * time.Second // of Sentinel and Cluster, for news that were missed
	bufferSize      = 64 << 10        // for each direction of a connection

	// After it has sent commands, a connection collects others for so long before it sends again. With many requests
	// in flight that saves most of the system calls; one alone does not wait. Longer than an answer takes it must not
	// be: then a few requests wait as well, and for a millisecond, since a process that has nothing else to do does not
	// wake up sooner.
	flushDelay = 25 * time.Microsecond

	// All commands to a server go over one connection, so that it collects more of them. A command that finds no place
	// in the connection's ring waits for one beyond the end of its context: a server that has stopped to answer may
	// have so many calls as 2 to the power of ringScale before that happens.
	singleConnection = -1 // of rueidis, where 0 means up to four
	ringScale        = 12
)

func clientDefaults() rueidis.ClientOption {
	dialer := net.Dialer{Timeout: dialTimeout}
	return rueidis.ClientOption{
		DisableRetry:        true, // the store knows what may be sent twice
		DisableCache:        true,
		AlwaysPipelining:    true, // otherwise the end of a context may go unnoticed
		ClientName:          "hipflask",
		ClientSetInfo:       rueidis.DisableClientSetInfo,
		ConnWriteTimeout:    silence,
		ReadBufferEachConn:  bufferSize,
		WriteBufferEachConn: bufferSize,
		MaxFlushDelay:       flushDelay,
		PipelineMultiplex:   singleConnection,
		RingScaleEachConn:   ringScale,
		BlockingPoolCleanup: time.Minute, // connections that were taken for a wait
		Dialer:              dialer,
		Sentinel:            rueidis.SentinelOption{Dialer: dialer, TopologyRefreshInterval: topologyRefresh},
		ClusterOption:       rueidis.ClusterOption{ShardsRefreshInterval: topologyRefresh},
	}
}

// Open connects to the server that a URL names and returns a Store whose Close closes the connections. It tries a read
// and a write, so that a wrong password, a missing permission, or a replica in place of the master is an error here and
// not at the first visitor. Nil opts are the defaults.
//
//	redis://USER:PASSWORD@HOST:PORT/DATABASE     one server; all but the host may be left out
//	rediss://...                                 the same with TLS
//	unix://USER:PASSWORD@/run/redis.sock         one server, through its socket
//	redis://HOST:PORT,HOST:PORT                  a cluster: some of its nodes
//	redis://HOST:PORT?cluster                    a cluster: one of its nodes
//	redis+sentinel://HOST:PORT,HOST:PORT/NAME    sentinels, and their name for the master; also /NAME/DATABASE
//	rediss+sentinel://...                        the same with TLS, to the sentinels and the servers
//
// valkey:// and valkeys:// mean redis:// and rediss://. The port is 6379 where it is left out, 26379 of a sentinel.
// Special characters in user names and passwords are percent-encoded. Parameters:
//
//	prefix=PREFIX, replicas=N      Options.Prefix and Options.Replicas, where opts leave them zero
//	max_stale=2s                   Options.MaxStale, where opts leave it zero
//	db=DATABASE                    the same as in the path
//	ca=FILE                        certificates in PEM, one of which signed the server's; default: the system's
//	cert=FILE, key=FILE            the client's own certificate and key in PEM
//	server_name=NAME               the name in the server's certificate, if it isn't the host
//	sentinel_user, sentinel_password    for the sentinels, which get none of the others'
//
// Errors never contain the URL. ctx bounds the call of Open.
func Open(ctx context.Context, url string, opts *Options) (*Store, error) {
	s, err := connect(ctx, url, opts)
	if err != nil {
		return nil, err
	}
	if err := s.try(ctx); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// connect is Open without trying anything.
func connect(ctx context.Context, url string, opts *Options) (*Store, error) {
	settings := Options{}
	if opts != nil {
		settings = *opts
	}
	option, err := settings.parse(url)
	if err != nil {
		return nil, err
	}
	s := newStore(&settings)
	if s.cache != nil {
		option.DisableCache, option.OnInvalidations = false, s.cache.invalidated
	}
	if s.client, err = newClient(ctx, option); err != nil {
		return nil, failed("connect", err)
	}
	s.owned = true
	return s, nil
}

// Dial connects as [Open] does and returns the client, which the caller closes: for packages that store something
// beside sessions. It tries nothing, so that it needs no permission. The client sends no command again, and the
// parameters prefix, replicas and max_stale are unknown.
func Dial(ctx context.Context, url string) (rueidis.Client, error) {
	option, err := (*Options)(nil).parse(url)
	if err != nil {
		return nil, err
	}
	client, err := newClient(ctx, option)
	if err != nil {
		return nil, failed("connect", err)
	}
	return client, nil
}

// parse returns the settings of the client that a URL names. Unless o is nil, it sets there what the URL says about the
// store.
func (o *Options) parse(url string) (rueidis.ClientOption, error) {
	option, err := parseURL(url, o)
	if err != nil {
		return option, fmt.Errorf("redisstore: URL: %w", err)
	}
	if o != nil {
		err = o.check()
	}
	return option, err
}

// newClient returns when ctx ends; the attempt that it leaves behind ends with dialTimeout.
func newClient(ctx context.Context, option rueidis.ClientOption) (rueidis.Client, error) {
	var client rueidis.Client
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		if client, err = rueidis.NewClient(option); err != nil && client != nil {
			client.Close()
		}
	}()
	select {
	case <-done:
		return client, err
	case <-ctx.Done():
		go func() {
			if <-done; err == nil {
				client.Close()
			}
		}()
		return nil, ctx.Err()
	}
}

// try reads and writes as the store will.
func (s *Store) try(ctx context.Context) error {
	name := "try-" + rand.Text()
	if _, err := s.Load(ctx, name); err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	if s.cache != nil {
		if _, err := s.loadTracked(ctx, name); err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
	}
	e, err := s.keep(ctx, name, name, 0)
	if err == nil {
		err = s.release(ctx, name, released{name, e.ends, 0})
	}
	if err != nil {
		return failed("try a write", err)
	}
	return nil
}
