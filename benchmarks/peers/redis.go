package peers

import (
	"github.com/redis/rueidis"

	"github.com/hipflask/session"
	"github.com/hipflask/session/store/redisstore"
)

// HipflaskRedis returns Hipflask with its sessions in the Redis server of client, which stays the caller's.
func HipflaskRedis(client rueidis.Client) Library {
	return Library{"Hipflask, Redis", hipflaskModule, Redis, func(string) (App, error) {
		s, err := redisstore.New(client, nil)
		if err != nil {
			return nil, err
		}
		return openHipflask(session.Config{Store: s}, s.Close)
	}}
}
