package session

import (
	"bytes"
	"maps"
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
	byName := func(a, b Member) int { return strings.Compare(a.Name, b.Name) }
	if !slices.IsSortedFunc(members, byName) {
		slices.SortStableFunc(members, byName)
	}
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
	seq     uint64 // of the newest change
	cleared uint64 // seq of the last Clear; 0: none
	byName  map[string]change
}

// change is what was done to one name: a value or its absence, and the updaters that led there if the result depends
// on what is stored.
type change struct {
	seq     uint64
	value   []byte
	present bool
	updates []update
}

type update struct {
	seq uint64
	fn  updater
}

func (c *changes) put(name string, ch change) {
	c.seq++
	ch.seq = c.seq
	if c.byName == nil {
		c.byName = make(map[string]change)
	}
	c.byName[name] = ch
}

// update records fn, whose result on the present view is value. After a Set or Clear of the same request the outcome
// depends on nothing stored: then it is a plain change.
func (c *changes) update(name string, fn updater, value []byte, present bool) {
	old, done := c.byName[name]
	next := change{value: value, present: present}
	if done && len(old.updates) > 0 || !done && c.cleared == 0 {
		next.updates = append(slices.Clip(old.updates), update{c.seq + 1, fn})
	}
	c.put(name, next)
}

func (c *changes) clear() {
	permanent, ok := c.byName[permanentKey]
	c.seq++
	c.cleared = c.seq
	c.byName = nil
	if ok {
		c.put(permanentKey, permanent)
	}
}

func (c *changes) empty() bool { return c.cleared == 0 && len(c.byName) == 0 }

// someName returns a name that was changed, for messages; "" if none was.
func (c *changes) someName() string {
	return slices.Max(append(slices.Collect(maps.Keys(c.byName)), ""))
}

// exactlyOnce reports whether applying the changes a second time would do harm.
func (c *changes) exactlyOnce() bool {
	for _, ch := range c.byName {
		if len(ch.updates) > 0 {
			return true
		}
	}
	return false
}

func (c *changes) clone() changes {
	d := *c
	if c.byName != nil {
		d.byName = make(map[string]change, len(c.byName))
		for n, ch := range c.byName {
			d.byName[n] = ch
		}
	}
	return d
}

// since returns what has been changed after seq, when everything up to it has been saved in base. The updates that are
// left are run again on base.
func (c *changes) since(seq uint64, base document) (changes, error) {
	rest := changes{seq: c.seq}
	if c.cleared > seq {
		rest.cleared = c.cleared
	}
	for name, ch := range c.byName {
		if ch.seq <= seq {
			continue
		}
		first := 0
		for first < len(ch.updates) && ch.updates[first].seq <= seq {
			first++
		}
		ch.updates = ch.updates[first:]
		if len(ch.updates) > 0 {
			value, present := base.get(name)
			var err error
			if ch.value, ch.present, err = run(ch.updates, value, present); err != nil {
				return rest, err
			}
		}
		if rest.byName == nil {
			rest.byName = make(map[string]change)
		}
		rest.byName[name] = ch
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
	if ch, ok := c.byName[name]; ok {
		return ch.value, ch.present
	}
	if c.cleared > 0 && name != permanentKey {
		return nil, false
	}
	return base.get(name)
}

// names returns the names that this request sees, sorted.
func (c *changes) names(base document) []string {
	var names []string
	for _, m := range base {
		if _, changed := c.byName[m.Name]; !changed && c.cleared == 0 && m.Name != permanentKey {
			names = append(names, m.Name)
		}
	}
	for name, ch := range c.byName {
		if ch.present && name != permanentKey {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// apply returns base with the changes, and whether that differs from base.
func (c *changes) apply(base document) (document, bool, error) {
	names := make([]string, 0, len(c.byName))
	for name := range c.byName {
		names = append(names, name)
	}
	slices.Sort(names)

	result := make(document, 0, len(base)+len(names))
	changed := false
	keep := func(m Member) {
		if c.cleared > 0 && m.Name != permanentKey {
			changed = true
		} else {
			result = append(result, m)
		}
	}
	for _, name := range names {
		for len(base) > 0 && base[0].Name < name {
			keep(base[0])
			base = base[1:]
		}
		var value []byte
		var present bool
		if len(base) > 0 && base[0].Name == name {
			value, present = base[0].Value, true
			base = base[1:]
		}
		ch := c.byName[name]
		next, there := ch.value, ch.present
		if len(ch.updates) > 0 {
			var err error
			if next, there, err = run(ch.updates, value, present); err != nil {
				return nil, false, err
			}
		}
		if there {
			result = append(result, Member{name, next})
		}
		if there != present || there && !bytes.Equal(value, next) {
			changed = true
		}
	}
	for _, m := range base {
		keep(m)
	}
	return result, changed, nil
}
