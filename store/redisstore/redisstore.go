// Package redisstore keeps sessions in Redis or Valkey, for more than one machine.
package redisstore

import (
	"errors"
	"fmt"
	"strings"

	"github.com/redis/rueidis"

	"github.com/hipflask/session/store"
)

// Options are the settings of a Store. The zero value is the default.
type Options struct {
	// Prefix is what the names of all keys begin with. Default: "hipflask:".
	Prefix string

	// Replicas is how many replicas must have a write before it counts as saved. Default: 0, none.
	Replicas int

	_ struct{} // no unkeyed literals: fields may be added
}

func (o *Options) check() error {
	if o.Replicas < 0 {
		return fmt.Errorf("redisstore: Replicas is %d: it can't be negative", o.Replicas)
	}
	return nil
}

// Store keeps records in Redis.
type Store struct {
	client   rueidis.Client
	owned    bool
	prefix   string
	replicas int
}

var (
	_ store.Store  = (*Store)(nil)
	_ store.Lister = (*Store)(nil)
)

const defaultPrefix = "hipflask:"

// New returns a Store.
func New(client rueidis.Client, opts *Options) (*Store, error) {
	if client == nil {
		return nil, errors.New("redisstore: the client is nil")
	}
	if opts == nil {
		opts = new(Options)
	}
	if err := opts.check(); err != nil {
		return nil, err
	}
	s := &Store{client: client, prefix: opts.Prefix, replicas: opts.Replicas}
	if s.prefix == "" {
		s.prefix = defaultPrefix
	}
	s.prefix = strings.Clone(s.prefix)
	return s, nil
}

// Close closes the client if Open made it.
func (s *Store) Close() error {
	if s.owned {
		s.client.Close()
	}
	return nil
}

// recordKey and indexKey are the names of a record and of a principal's index on the server.
func (s *Store) recordKey(key string) string { return s.prefix + "s:" + key }

func (s *Store) indexKey(principal string) string { return s.prefix + "p:" + principal }
