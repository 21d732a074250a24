package redisstore

import (
	"context"

	"github.com/redis/rueidis"
)

// Open makes a client and a Store.
func Open(ctx context.Context, url string, opts *Options) (*Store, error) {
	o, err := rueidis.ParseURL(url)
	if err != nil {
		return nil, err
	}
	o.DisableCache = true
	o.DisableRetry = true
	o.AlwaysPipelining = true
	client, err := rueidis.NewClient(o)
	if err != nil {
		return nil, err
	}
	s, err := New(client, opts)
	if err != nil {
		return nil, err
	}
	s.owned = true
	return s, nil
}
