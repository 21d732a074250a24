package peers

import (
	"context"

	"github.com/hipflask/session"
	"github.com/hipflask/session/store/redisstore"
)

// HipflaskRedis returns Hipflask with its sessions in the Redis server that a URL names.
func HipflaskRedis(url string) Library {
	return Library{"Hipflask, Redis", Ours, Redis, func(string) (App, error) {
		s, err := redisstore.Open(context.Background(), url, nil)
		if err != nil {
			return nil, err
		}
		return openHipflask(session.Config{Store: s}, s.Close)
	}}
}
