package main

import (
	"testing"

	"github.com/redis/rueidis"

	"github.com/hipflask/session/internal/servertest"
	"github.com/hipflask/session/verify/benchmarks/peers"
)

// BenchmarkRedis is for profiles: whole requests with sessions in Redis, 64 in flight, and their floors.
func BenchmarkRedis(b *testing.B) {
	server := servertest.Redis(b)
	client, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{server.Addr}})
	if err != nil {
		b.Fatal(err)
	}
	defer client.Close()
	s := openScene(b, peers.HipflaskRedis(urlOf(server)), inFlight)
	get, change, err := redisFloors(client, "floor:")
	if err != nil {
		b.Fatal(err)
	}
	read, readCheck := s.inFlight(operations[2])
	write, writeCheck := s.inFlight(operations[3])
	for _, c := range []struct {
		name  string
		run   func(n int)
		check func() error
	}{
		{"op=read/floor", get.Run, nil}, {"op=read/whole", read.Run, readCheck},
		{"op=change/floor", change.Run, nil}, {"op=change/whole", write.Run, writeCheck},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			c.run(b.N)
			if c.check != nil && b.N > inFlight {
				if err := c.check(); err != nil {
					b.Error(err)
				}
			}
		})
	}
}
