package redisstore

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"iter"
	"strconv"
	"strings"

	"github.com/redis/rueidis"

	"github.com/hipflask/session/store"
)

// page is how many records are read at a time.
const page = 256

// Principal implements [store.Lister] with a cursor over the principal's index, and one round trip (on a cluster one to
// each node) for 256 records.
func (s *Store) Principal(ctx context.Context, principal string) iter.Seq2[store.Record, error] {
	return func(yield func(store.Record, error) bool) {
		if principal == "" {
			return
		}
		index := s.indexKey(principal)
		s.scan(ctx, newWindow(), func(cursor string) (keys []string, next uint64, err error) {
			entry, err := s.page(ctx, s.client, func(b rueidis.Builder) rueidis.Completed {
				return b.Arbitrary("ZSCAN").Keys(index).Args(cursor, "COUNT", pageText).Build()
			})
			for i := 0; i < len(entry.Elements); i += 2 { // keys and their index times
				keys = append(keys, entry.Elements[i])
			}
			return keys, entry.Cursor, err
		}, func(rec store.Record, err error) bool {
			return err == nil && rec.Principal != principal || yield(rec, err)
		})
	}
}

// All implements [store.Lister] with the server's SCAN, of each master one after the other. It walks over all keys of
// the database, also those of other applications, a few hundred at a time. While slots of a cluster move to another
// node, it may miss or repeat the records that move.
func (s *Store) All(ctx context.Context) iter.Seq2[store.Record, error] {
	return func(yield func(store.Record, error) bool) {
		nodes, err := Masters(ctx, s.client)
		if err != nil {
			yield(store.Record{}, failed("list", err))
			return
		}
		seen, prefix := newWindow(), s.recordKey("")
		pattern := escape(prefix) + "*"
		for _, node := range nodes {
			if !s.scan(ctx, seen, func(cursor string) (keys []string, next uint64, err error) {
				entry, err := s.page(ctx, node, func(b rueidis.Builder) rueidis.Completed {
					return b.Arbitrary("SCAN", cursor, "MATCH", pattern, "COUNT", pageText).Build()
				})
				for _, name := range entry.Elements {
					keys = append(keys, strings.TrimPrefix(name, prefix))
				}
				return keys, entry.Cursor, err
			}, yield) {
				return
			}
		}
	}
}

var pageText = strconv.Itoa(page)

// scan yields the records under the keys that pages returns, and tells whether the loop goes on. A cursor of Redis
// returns what is there all the time at least once, and sometimes again.
func (s *Store) scan(
	ctx context.Context, seen *window, pages func(cursor string) (keys []string, next uint64, err error),
	yield func(store.Record, error) bool,
) bool {
	for cursor := "0"; ; {
		keys, next, err := pages(cursor)
		if err != nil {
			yield(store.Record{}, failed("list", err))
			return false
		}
		fresh := keys[:0]
		for _, key := range keys {
			if seen.add(key) {
				fresh = append(fresh, key)
			}
		}
		for len(fresh) > 0 {
			n := min(page, len(fresh))
			if !s.yield(ctx, fresh[:n], yield) {
				return false
			}
			fresh = fresh[n:]
		}
		if next == 0 {
			return true
		}
		cursor = strconv.FormatUint(next, 10)
	}
}

// yield yields the records under keys, and tells whether the loop goes on.
func (s *Store) yield(ctx context.Context, keys []string, yield func(store.Record, error) bool) bool {
	values, err := s.headers(ctx, keys)
	if err != nil {
		yield(store.Record{}, failed("list", err))
		return false
	}
	for i, value := range values {
		rec, ok := unpack(keys[i], value)
		if !ok {
			continue
		}
		if err := ctx.Err(); err != nil {
			yield(store.Record{}, failed("list", err))
			return false
		}
		if s.doubts != nil && rec.Kind != store.Live { // RevokeAll takes it for done
			if rec, err = s.loadConfirmed(ctx, rec.Key); errors.Is(err, store.ErrNotFound) {
				continue
			} else if err != nil {
				yield(store.Record{}, err)
				return false
			}
		}
		rec.Data = nil
		if !yield(rec, nil) {
			return false
		}
	}
	return true
}

// headers reads all but the data of records; what is none is empty.
func (s *Store) headers(ctx context.Context, keys []string) ([][]byte, error) {
	results, err := s.ask(ctx, s.client, func(b rueidis.Builder) []rueidis.Completed {
		commands := make([]rueidis.Completed, len(keys))
		for i, key := range keys {
			commands[i] = b.Arbitrary("GETRANGE").Keys(s.recordKey(key)).Args("0", withoutDataText).Build()
		}
		return commands
	})
	if err != nil {
		return nil, err
	}
	values := make([][]byte, len(keys))
	for i, res := range results {
		if values[i], err = res.AsBytes(); err != nil && !absent(err) {
			return nil, err
		}
	}
	return values, nil
}

// page reads the next page of a cursor.
func (s *Store) page(
	ctx context.Context, client rueidis.Client, command func(rueidis.Builder) rueidis.Completed,
) (entry rueidis.ScanEntry, err error) {
	results, err := s.ask(ctx, client, func(b rueidis.Builder) []rueidis.Completed {
		return []rueidis.Completed{command(b)}
	})
	if err != nil {
		return entry, err
	}
	return results[0].AsScanEntry()
}

// ask sends commands that only read, in one round trip, behind one that a replica refuses: as with get, what is asked
// may have been the master once, and an empty list would look as if nobody were logged in. The replicas of a cluster
// refuse by themselves.
func (s *Store) ask(
	ctx context.Context, client rueidis.Client, commands func(rueidis.Builder) []rueidis.Completed,
) (results []rueidis.RedisResult, err error) {
	single := s.client.Mode() != rueidis.ClientModeCluster
	s.read(ctx, func() (broken rueidis.RedisResult) {
		all := commands(client.B())
		if single {
			all = append([]rueidis.Completed{client.B().Arbitrary("GETEX").Keys(s.prefix + "master").Build()}, all...)
		}
		results, err = apart(ctx, s, func() []rueidis.RedisResult { return client.DoMulti(ctx, all...) })
		if err != nil {
			return rueidis.NewErrorResult(err)
		}
		for _, res := range results {
			if res.NonRedisError() != nil {
				return res
			}
		}
		return broken
	})
	if err != nil {
		return nil, err
	}
	if single {
		if err := results[0].Error(); err != nil && !absent(err) && codeOf(err) != "MISCONF" {
			return nil, err
		}
		results = results[1:]
	}
	return results, nil
}

var withoutDataText = strconv.Itoa(withoutData - 1)

// Masters returns the nodes of client that hold data: the only one, or all masters of a cluster, for commands such as
// SCAN. It fails if a master can't be reached, since a list without that master's keys would look complete. The error
// is one of rueidis: see [Clean].
func Masters(ctx context.Context, client rueidis.Client) ([]rueidis.Client, error) {
	var masters []rueidis.Client
	for _, node := range client.Nodes() {
		if client.Mode() != rueidis.ClientModeCluster {
			return []rueidis.Client{node}, nil
		}
		// HELLO without arguments changes nothing and needs no permission that ROLE or INFO would.
		hello, err := node.Do(ctx, node.B().Arbitrary("HELLO").Build()).AsMap()
		if role := hello["role"]; err == nil {
			if name, _ := role.ToString(); name == "master" {
				masters = append(masters, node)
			}
		}
	}
	info, err := client.Do(ctx, client.B().Arbitrary("CLUSTER", "INFO").Build()).ToString()
	if err != nil {
		return nil, err
	}
	var served, size int
	for line := range strings.Lines(info) {
		_, _ = fmt.Sscanf(line, "cluster_slots_ok:%d", &served)
		_, _ = fmt.Sscanf(line, "cluster_size:%d", &size)
	}
	if served != slots || len(masters) < size {
		return nil, errors.New("not all masters of the cluster can be reached")
	}
	return masters, nil
}

// slots is how many a cluster has.
const slots = 16384

// escape makes a text mean itself in a pattern of SCAN.
func escape(text string) string { return patterns.Replace(text) }

var patterns = strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`, `]`, `\]`)

// A window remembers the last keys that came by. That is enough: when a table of Redis shrinks in the middle of a scan,
// the cursor returns again what had come from the table's buckets that become one with the bucket it is at; it goes
// through those one after the other (dictScan in src/dict.c of Redis 7).
type window struct {
	seed maphash.Seed
	at   map[uint64]bool
	ring []uint64
	next int
}

const windowSize = 1 << 16

func newWindow() *window { return &window{seed: maphash.MakeSeed(), at: map[uint64]bool{}} }

// add returns false if key was added before, not too long ago.
func (w *window) add(key string) bool {
	sum := maphash.String(w.seed, key)
	if w.at[sum] {
		return false
	}
	w.at[sum] = true
	if len(w.ring) < windowSize {
		w.ring = append(w.ring, sum)
		return true
	}
	delete(w.at, w.ring[w.next])
	w.ring[w.next] = sum
	w.next = (w.next + 1) % windowSize
	return true
}
