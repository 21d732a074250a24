package redisstore

import (
	"context"
	"fmt"
	"iter"
	"strings"

	"github.com/redis/rueidis"

	"github.com/hipflask/session/store"
)

// page is how many records are read at a time.
const page = 256

// Principal implements [store.Lister].
func (s *Store) Principal(ctx context.Context, principal string) iter.Seq2[store.Record, error] {
	return func(yield func(store.Record, error) bool) {
		if principal == "" {
			return
		}
		index := s.indexKey(principal)
		seen := map[string]bool{}
		for cursor := uint64(0); ; {
			res := s.read(ctx, func() rueidis.Completed {
				return s.client.B().Arbitrary("ZSCAN").Keys(index).Args(fmt.Sprint(cursor), "COUNT", fmt.Sprint(page)).Build()
			})
			entry, err := res.AsScanEntry()
			if err != nil {
				yield(store.Record{}, s.failed("list", err))
				return
			}
			var keys []string
			for i := 0; i+1 < len(entry.Elements); i += 2 { // members and scores
				if key := entry.Elements[i]; !seen[key] {
					seen[key] = true
					keys = append(keys, key)
				}
			}
			if !s.yield(ctx, keys, func(rec store.Record, err error) bool {
				return err == nil && rec.Principal != principal || yield(rec, err)
			}) {
				return
			}
			if cursor = entry.Cursor; cursor == 0 {
				return
			}
		}
	}
}

// All implements [store.Lister].
func (s *Store) All(ctx context.Context) iter.Seq2[store.Record, error] {
	return func(yield func(store.Record, error) bool) {
		nodes, err := s.masters(ctx)
		if err != nil {
			yield(store.Record{}, s.failed("list", err))
			return
		}
		seen := newRecent()
		prefix := s.recordKey("")
		for _, node := range nodes {
			for cursor := uint64(0); ; {
				res := node.Do(ctx, node.B().Scan().Cursor(cursor).Match(escape(prefix)+"*").Count(page).Build())
				entry, err := res.AsScanEntry()
				if err != nil {
					yield(store.Record{}, s.failed("list", err))
					return
				}
				var keys []string
				for _, name := range entry.Elements {
					if key := strings.TrimPrefix(name, prefix); seen.add(key) {
						keys = append(keys, key)
					}
				}
				if !s.yield(ctx, keys, yield) {
					return
				}
				if cursor = entry.Cursor; cursor == 0 {
					break
				}
			}
		}
	}
}

// yield yields the records under keys, and tells whether the loop goes on.
func (s *Store) yield(ctx context.Context, keys []string, yield func(store.Record, error) bool) bool {
	for len(keys) > 0 {
		some := keys[:min(page, len(keys))]
		keys = keys[len(some):]
		commands := make(rueidis.Commands, len(some))
		for i, key := range some {
			commands[i] = s.client.B().Arbitrary("GETRANGE").Keys(s.recordKey(key)).Args("0", fmt.Sprint(withoutData-1)).Build()
		}
		for i, res := range s.client.DoMulti(ctx, commands...) {
			value, err := res.AsBytes()
			if err != nil {
				err = s.failed("list", err)
				if err == store.ErrNotFound {
					continue
				}
				yield(store.Record{}, err)
				return false
			}
			rec, ok := unpack(some[i], value)
			if !ok {
				continue
			}
			if err := ctx.Err(); err != nil {
				yield(store.Record{}, s.failed("list", err))
				return false
			}
			rec.Data = nil
			if !yield(rec, nil) {
				return false
			}
		}
	}
	return true
}

// masters returns the servers that hold the records.
func (s *Store) masters(ctx context.Context) ([]rueidis.Client, error) {
	var masters []rueidis.Client
	for _, node := range s.client.Nodes() {
		masters = append(masters, node)
	}
	return masters, nil
}

// escape makes a text mean itself in a pattern.
func escape(text string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`, `]`, `\]`).Replace(text)
}

type recent struct{ seen map[string]bool }

func newRecent() *recent { return &recent{map[string]bool{}} }

func (r *recent) add(key string) bool {
	if r.seen[key] {
		return false
	}
	r.seen[key] = true
	return true
}
