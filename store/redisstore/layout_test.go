package redisstore_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/redis/rueidis"

	"github.com/hipflask/session/internal/servertest"
)

// A layout is a way to keep a record in Redis, without anything around it: what the store's own is held against.
type layout struct {
	create, load, replace func(ctx context.Context, client rueidis.Client, n int) error
}

var (
	hashScript = rueidis.NewLuaScript(`if redis.call('HGET', KEYS[1], 'v') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'v', ARGV[2], 'a', ARGV[3], 'e', ARGV[4], 'd', ARGV[5])
redis.call('PEXPIRE', KEYS[1], ARGV[6])
return 1`, rueidis.WithLoadSHA1(true))
	stringScript = rueidis.NewLuaScript(`if redis.call('GETRANGE', KEYS[1], 0, 7) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1`, rueidis.WithLoadSHA1(true))
)

const (
	dayOfMilliseconds = "86400000"
	someVersion       = "4611686018427387904"
	someTime          = "1763856000000"
	someHandle        = "1234567890123456789012"
)

var someData = strings.Repeat("d", 200)

// The fields are those of a record without principal, label and target.
var layouts = map[string]layout{
	"hash": {
		create: func(ctx context.Context, client rueidis.Client, n int) error {
			key := fmt.Sprintf("hash:%045d", n)
			err := client.Do(ctx, client.B().Hset().Key(key).FieldValue().FieldValue("v",
				someVersion).FieldValue("a", someTime).
				FieldValue("e", someTime).FieldValue("c", someTime).FieldValue("h", someHandle).FieldValue("d",
				someData).Build()).Error()
			if err != nil {
				return err
			}
			return client.Do(ctx, client.B().Pexpire().Key(key).Milliseconds(86400000).Build()).Error()
		},
		load: func(ctx context.Context, client rueidis.Client, n int) error {
			key := fmt.Sprintf("hash:%045d", n)
			fields, err := client.Do(ctx, client.B().Hmget().Key(key).Field("v", "a", "e", "c", "k", "p", "l", "m", "h",
				"d").Build()).ToArray()
			if err == nil && len(fields) != 10 {
				err = fmt.Errorf("got %d fields, want 10", len(fields))
			}
			return err
		},
		replace: func(ctx context.Context, client rueidis.Client, n int) error {
			return hashScript.Exec(ctx, client, []string{fmt.Sprintf("hash:%045d", n)},
				[]string{someVersion, someVersion, someTime, someTime, someData, dayOfMilliseconds}).Error()
		},
	},
	"string": {
		create: func(ctx context.Context, client rueidis.Client, n int) error {
			key := fmt.Sprintf("text:%045d", n)
			value := someVersion[:8] + strings.Repeat("h", 40) + someHandle + someData
			return client.Do(ctx, client.B().Set().Key(key).Value(value).PxMilliseconds(86400000).Build()).Error()
		},
		load: func(ctx context.Context, client rueidis.Client, n int) error {
			value, err := client.Do(ctx, client.B().Get().Key(fmt.Sprintf("text:%045d", n)).Build()).AsBytes()
			if err == nil && len(value) != 270 {
				err = fmt.Errorf("got %d bytes, want 270", len(value))
			}
			return err
		},
		replace: func(ctx context.Context, client rueidis.Client, n int) error {
			return stringScript.Exec(ctx, client, []string{fmt.Sprintf("text:%045d", n)},
				[]string{someVersion[:8], someVersion[:8] + strings.Repeat("h", 40) + someHandle + someData,
					dayOfMilliseconds}).Error()
		},
	},
}

// BenchmarkMemory fills an empty server and reports the bytes per session, keys and everything else included. Those of
// the store itself are measured by ./bench redis-server.
func BenchmarkMemory(b *testing.B) {
	for name, layout := range layouts {
		b.Run("layout="+name, func(b *testing.B) {
			server := servertest.Redis(b)
			client := connect(b, server.Addr)
			before := usedMemory(b, client)
			for range b.N {
				fill(b, func(n int) error { return layout.create(b.Context(), client, n) })
			}
			b.ReportMetric(float64(usedMemory(b, client)-before)/float64(sessions()), "bytes/session")
			b.ReportMetric(0, "ns/op")
		})
	}
}
