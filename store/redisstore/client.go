package redisstore

import "github.com/redis/rueidis"

// Client returns the client that the Store uses, for questions about its servers. It ends with Close if [Open] made it.
func (s *Store) Client() rueidis.Client { return s.client }
