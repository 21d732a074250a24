module github.com/hipflask/session/proof

go 1.26.0

require (
	github.com/anishathalye/porcupine v1.3.1
	github.com/hipflask/session v0.0.0
)

require (
	github.com/bradfitz/gomemcache v0.0.0-20260422231931-4d751bb6e37c // indirect
	github.com/redis/rueidis v1.0.79 // indirect
)

require (
	github.com/hipflask/session/store/memcachedstore v0.0.0
	github.com/hipflask/session/store/redisstore v0.0.0
	golang.org/x/sys v0.49.0 // indirect
)
