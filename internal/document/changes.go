package document

import (
	"bytes"
	"iter"
	"slices"
	"strings"
)

// Updater computes a value from the one before; keep false removes it. It may run several times.
type Updater func(value []byte, present bool) (next []byte, keep bool, err error)

// Changes are the changes of a session by one request since its last save. They apply to whatever is stored by then.
type Changes struct {
	Seq     uint64    // of the newest change
	cleared *clearing // the last Clear, immutable; nil: none
	left    uint64    // Seq of the last Login, which leaves all attributes behind; 0: none
	list    []change  // sorted by name, each name once
	shared  bool      // a snapshot has the list too, so the next change copies the list first
}

type clearing struct {
	seq    uint64
	spared []string // names that it keeps
}

// change is the change of one name: a value or its absence, and the updaters that computed the value if the value
// depends on what is stored.
type change struct {
	name    string
	seq     uint64
	value   []byte
	present bool
	updates []update
}

type update struct {
	seq uint64
	fn  Updater
}

func (c *Changes) search(name string) (int, bool) {
	return slices.BinarySearchFunc(c.list, name, func(ch change, name string) int {
		return strings.Compare(ch.name, name)
	})
}

// find returns the change of name; nil: none.
func (c *Changes) find(name string) *change {
	if i, ok := c.search(name); ok {
		return &c.list[i]
	}
	return nil
}

// Put sets name to a value, or removes name. The value depends on what is stored only if there are updates. base is
// the document that the request has loaded.
func (c *Changes) Put(base Document, name string, value []byte, present bool, updates ...update) {
	c.Seq++
	c.own()
	i, ok := c.search(name)
	if !ok {
		name = base.own(name)
		c.list = slices.Insert(c.list, i, change{})
	} else {
		name = c.list[i].name
	}
	c.list[i] = change{name, c.Seq, value, present, updates}
}

// Forget takes back the change of name.
func (c *Changes) Forget(name string) {
	if i, ok := c.search(name); ok {
		c.own()
		c.list = slices.Delete(c.list, i, i+1)
	}
}

func (c *Changes) own() {
	if c.shared {
		c.list, c.shared = slices.Clone(c.list), false
	}
}

// Snapshot returns the changes as they are now.
func (c *Changes) Snapshot() Changes {
	c.shared = true
	return *c
}

// Update records fn, whose result on the present view is value. After a Set or Clear of the same request the result
// doesn't depend on what is stored, so it becomes a plain change.
func (c *Changes) Update(base Document, name string, fn Updater, value []byte, present bool) {
	var updates []update
	if old := c.find(name); old != nil && len(old.updates) > 0 || old == nil && !c.hides(name) {
		if old != nil {
			updates = slices.Clip(old.updates)
		}
		updates = append(updates, update{c.Seq + 1, fn})
	}
	c.Put(base, name, value, present, updates...)
}

// Take returns the changes that remove name from the stored document: the request's earlier change of name, and the
// removal. Each time the removal is applied, taken is called with the value that was stored. base is the document that
// the request has loaded.
func (c *Changes) Take(base Document, name string, taken func(value []byte, present bool)) Changes {
	own := Changes{Seq: c.Seq}
	if ch := c.find(name); ch != nil {
		own.list = []change{*ch}
	}
	own.Update(base, name, func(value []byte, present bool) ([]byte, bool, error) {
		taken(value, present)
		return nil, false, nil
	}, nil, false)
	own.Seq = c.Seq // no newer change is part of own
	return own
}

// Taken forgets name when what [Changes.Take] returned with this Seq has been saved.
func (c *Changes) Taken(name string, seq uint64) {
	if ch := c.find(name); ch == nil || ch.seq <= seq {
		c.Forget(name)
		c.Seq++
	}
}

// Clear removes all values except the reserved ones and those of the names in spared. The caller must not change spared
// afterwards.
func (c *Changes) Clear(spared ...string) {
	c.Seq++
	c.drop(func(name string) bool { return !Reserved(name) && !slices.Contains(spared, name) })
	if c.cleared != nil { // what an earlier Clear removed stays removed
		spared = slices.DeleteFunc(slices.Clone(spared), c.hides)
	}
	c.cleared = &clearing{c.Seq, spared}
}

// LeaveAttributes removes all attributes: they belong to the session before a Login.
func (c *Changes) LeaveAttributes() {
	c.Seq++
	c.left = c.Seq
	c.drop(IsAttribute)
}

// DropAttributes takes back all changes of attributes, and returns the name of one of them, or "" if there were none.
func (c *Changes) DropAttributes() string {
	i := slices.IndexFunc(c.list, func(ch change) bool { return IsAttribute(ch.name) })
	if i < 0 {
		return ""
	}
	name := PlainName(c.list[i].name)
	c.drop(IsAttribute)
	return name
}

func (c *Changes) drop(which func(name string) bool) {
	c.own()
	c.list = slices.DeleteFunc(c.list, func(ch change) bool { return which(ch.name) })
}

// hides reports whether a Clear or Login of the request hides whatever is stored under name.
func (c *Changes) hides(name string) bool {
	return c.cleared != nil && !Reserved(name) && !slices.Contains(c.cleared.spared, name) ||
		c.left > 0 && IsAttribute(name)
}

// Empty reports whether there is nothing to save.
func (c *Changes) Empty() bool { return c.cleared == nil && c.left == 0 && len(c.list) == 0 }

// Has reports whether name was changed.
func (c *Changes) Has(name string) bool { return c.find(name) != nil }

// SomeName returns a name that was changed, for messages; "" if none was.
func (c *Changes) SomeName() string {
	if len(c.list) == 0 {
		return ""
	}
	return PlainName(c.list[len(c.list)-1].name)
}

// Cleared reports whether the application's values were removed.
func (c *Changes) Cleared() bool { return c.cleared != nil }

// ExactlyOnce reports whether the changes have to be applied only once: whether there are updates among them.
func (c *Changes) ExactlyOnce() bool {
	return slices.ContainsFunc(c.list, func(ch change) bool { return len(ch.updates) > 0 })
}

// Since returns the changes after seq, when all changes up to seq have been saved in base. It runs the remaining
// updates again on base.
func (c *Changes) Since(seq uint64, base Document) (Changes, error) {
	rest := Changes{Seq: c.Seq}
	if c.cleared != nil && c.cleared.seq > seq {
		rest.cleared = c.cleared
	}
	if c.left > seq {
		rest.left = c.left
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
			value, present := base.Get(ch.name)
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

// Get returns the value of name as this request sees it.
func (c *Changes) Get(base Document, name string) ([]byte, bool) {
	if ch := c.find(name); ch != nil {
		return ch.value, ch.present
	}
	if c.hides(name) {
		return nil, false
	}
	return base.Get(name)
}

// pairs yields, sorted by name, each member of base with its change. Either of the two may be nil.
func (c *Changes) pairs(base Document) iter.Seq2[*Member, *change] {
	return func(yield func(*Member, *change) bool) {
		for list := c.list; len(base) > 0 || len(list) > 0; {
			order := -1 // of the next member and the next change
			switch {
			case len(base) == 0:
				order = 1
			case len(list) > 0:
				order = strings.Compare(base[0].Name, list[0].name)
			}
			var m *Member
			var ch *change
			if order <= 0 {
				m, base = &base[0], base[1:]
			}
			if order >= 0 {
				ch, list = &list[0], list[1:]
			}
			if !yield(m, ch) {
				return
			}
		}
	}
}

// Names yields the names of the application's values that this request sees, sorted.
func (c *Changes) Names(base Document) iter.Seq[string] {
	return func(yield func(string) bool) {
		for name := range c.All(base) {
			if !Reserved(name) && !yield(name) {
				return
			}
		}
	}
}

// All yields every name that this request sees, sorted.
func (c *Changes) All(base Document) iter.Seq[string] {
	return func(yield func(string) bool) {
		for m, ch := range c.pairs(base) {
			name, there := "", false
			if ch != nil {
				name, there = ch.name, ch.present
			} else {
				name, there = m.Name, !c.hides(m.Name)
			}
			if there && !yield(name) {
				return
			}
		}
	}
}

// Count returns how many of the application's values this request sees.
func (c *Changes) Count(base Document) (n int) {
	for range c.Names(base) {
		n++
	}
	return n
}

// Begin reports whether the changes alone are worth a session: whether they leave a value or an attribute.
func (c *Changes) Begin() bool {
	return slices.ContainsFunc(c.list, func(ch change) bool { return ch.present && ch.name != Permanent })
}

// Apply returns base with the changes, and whether that differs from base.
func (c *Changes) Apply(base Document) (result Document, changed bool, err error) {
	result = make(Document, 0, len(base)+len(c.list))
	for m, ch := range c.pairs(base) {
		switch {
		case ch == nil && c.hides(m.Name):
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
