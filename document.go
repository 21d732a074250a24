package session

import (
	"bytes"
	"iter"
	"slices"
	"strings"
)

// permanentKey holds whether the session outlives the browser, under Flask's name for it (flask/sessions.py,
// SessionMixin.permanent). It is no value of the application: Len and Keys leave it out, Clear keeps it.
const permanentKey = "_permanent"

// document is a session's encoded values, sorted by name, each name once. It is never changed in place.
type document []Member

// newDocument sorts what a serializer split. Of a name that is there twice the last wins, as in Python.
func newDocument(members []Member) document {
	sorted := 1
	for sorted < len(members) && members[sorted-1].Name < members[sorted].Name {
		sorted++
	}
	if sorted >= len(members) {
		return members // as we write them
	}
	slices.SortStableFunc(members, func(a, b Member) int { return strings.Compare(a.Name, b.Name) })
	d := members[:0]
	for i, m := range members {
		if i+1 == len(members) || members[i+1].Name != m.Name {
			d = append(d, m)
		}
	}
	return d
}

func (d document) get(name string) ([]byte, bool) {
	i, ok := slices.BinarySearchFunc(d, name, func(m Member, name string) int { return strings.Compare(m.Name, name) })
	if !ok {
		return nil, false
	}
	return d[i].Value, true
}

// An updater computes a value from the one before; keep false removes it. It may run several times.
type updater func(value []byte, present bool) (next []byte, keep bool, err error)

// changes is what a request did to its session since the last save: the difference to whatever is stored by then.
type changes struct {
	seq     uint64   // of the newest change
	cleared uint64   // seq of the last Clear; 0: none
	list    []change // sorted by name, each name once
	shared  bool     // a snapshot has the list too: it is copied before the next change
}

// change is what was done to one name: a value or its absence, and the updaters that led there if the result depends
// on what is stored.
type change struct {
	name    string
	seq     uint64
	value   []byte
	present bool
	updates []update
}

type update struct {
	seq uint64
	fn  updater
}

func (c *changes) search(name string) (int, bool) {
	return slices.BinarySearchFunc(c.list, name, func(ch change, name string) int { return strings.Compare(ch.name, name) })
}

// find returns the change of name; nil: none.
func (c *changes) find(name string) *change {
	if i, ok := c.search(name); ok {
		return &c.list[i]
	}
	return nil
}

func (c *changes) put(name string, value []byte, present bool, updates ...update) {
	c.seq++
	c.own()
	i, ok := c.search(name)
	if !ok {
		c.list = slices.Insert(c.list, i, change{})
	}
	c.list[i] = change{name, c.seq, value, present, updates}
}

// forget takes back what was done to name.
func (c *changes) forget(name string) {
	if i, ok := c.search(name); ok {
		c.own()
		c.list = slices.Delete(c.list, i, i+1)
	}
}

func (c *changes) own() {
	if c.shared {
		c.list, c.shared = slices.Clone(c.list), false
	}
}

// snapshot returns the changes as they are now.
func (c *changes) snapshot() changes {
	c.shared = true
	return *c
}

// update records fn, whose result on the present view is value. After a Set or Clear of the same request the outcome
// depends on nothing stored: then it is a plain change.
func (c *changes) update(name string, fn updater, value []byte, present bool) {
	var updates []update
	if old := c.find(name); old != nil && len(old.updates) > 0 || old == nil && c.cleared == 0 {
		if old != nil {
			updates = slices.Clip(old.updates)
		}
		updates = append(updates, update{c.seq + 1, fn})
	}
	c.put(name, value, present, updates...)
}

func (c *changes) clear() {
	permanent := c.find(permanentKey)
	c.seq++
	c.cleared, c.list, c.shared = c.seq, nil, false
	if permanent != nil {
		c.put(permanentKey, permanent.value, permanent.present, permanent.updates...)
	}
}

func (c *changes) empty() bool { return c.cleared == 0 && len(c.list) == 0 }

// someName returns a name that was changed, for messages; "" if none was.
func (c *changes) someName() string {
	if len(c.list) == 0 {
		return ""
	}
	return c.list[len(c.list)-1].name
}

// exactlyOnce reports whether applying the changes a second time would do harm.
func (c *changes) exactlyOnce() bool {
	return slices.ContainsFunc(c.list, func(ch change) bool { return len(ch.updates) > 0 })
}

// since returns what has been changed after seq, when everything up to it has been saved in base. The updates that are
// left are run again on base.
func (c *changes) since(seq uint64, base document) (changes, error) {
	rest := changes{seq: c.seq}
	if c.cleared > seq {
		rest.cleared = c.cleared
	}
	for _, ch := range c.list {
		if ch.seq <= seq {
			continue
		}
		first := 0
		for first < len(ch.updates) && ch.updates[first].seq <= seq {
			first++
		}
		ch.updates = ch.updates[first:]
		if len(ch.updates) > 0 {
			value, present := base.get(ch.name)
			var err error
			if ch.value, ch.present, err = run(ch.updates, value, present); err != nil {
				return rest, err
			}
		}
		rest.list = append(rest.list, ch)
	}
	return rest, nil
}

func run(updates []update, value []byte, present bool) ([]byte, bool, error) {
	for _, u := range updates {
		var err error
		if value, present, err = u.fn(value, present); err != nil {
			return nil, false, err
		}
	}
	return value, present, nil
}

// get returns the value of name as this request sees it.
func (c *changes) get(base document, name string) ([]byte, bool) {
	if ch := c.find(name); ch != nil {
		return ch.value, ch.present
	}
	if c.cleared > 0 && name != permanentKey {
		return nil, false
	}
	return base.get(name)
}

// pairs yields, sorted by name, what is in base and what was done to it; nil: nothing.
func (c *changes) pairs(base document) iter.Seq2[*Member, *change] {
	return func(yield func(*Member, *change) bool) {
		for list := c.list; len(base) > 0 || len(list) > 0; {
			var m *Member
			var ch *change
			if len(list) == 0 || len(base) > 0 && base[0].Name <= list[0].name {
				m = &base[0]
			}
			if len(base) == 0 || len(list) > 0 && list[0].name <= base[0].Name {
				ch = &list[0]
			}
			if m != nil {
				base = base[1:]
			}
			if ch != nil {
				list = list[1:]
			}
			if !yield(m, ch) {
				return
			}
		}
	}
}

// names yields the names that this request sees, sorted.
func (c *changes) names(base document) iter.Seq[string] {
	return func(yield func(string) bool) {
		for m, ch := range c.pairs(base) {
			name, there := "", false
			if ch != nil {
				name, there = ch.name, ch.present
			} else {
				name, there = m.Name, c.cleared == 0
			}
			if there && name != permanentKey && !yield(name) {
				return
			}
		}
	}
}

// count returns how many names this request sees.
func (c *changes) count(base document) (n int) {
	for range c.names(base) {
		n++
	}
	return n
}

// apply returns base with the changes, and whether that differs from base.
func (c *changes) apply(base document) (result document, changed bool, err error) {
	result = make(document, 0, len(base)+len(c.list))
	for m, ch := range c.pairs(base) {
		switch {
		case ch == nil && c.cleared > 0 && m.Name != permanentKey:
			changed = true
			continue
		case ch == nil:
			result = append(result, *m)
			continue
		}
		var value []byte
		if m != nil {
			value = m.Value
		}
		next, there := ch.value, ch.present
		if len(ch.updates) > 0 {
			if next, there, err = run(ch.updates, value, m != nil); err != nil {
				return nil, false, err
			}
		}
		if there {
			result = append(result, Member{ch.name, next})
		}
		if there != (m != nil) || there && !bytes.Equal(value, next) {
			changed = true
		}
	}
	return result, changed, nil
}
