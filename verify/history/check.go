package history

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"
)

// searchLimit bounds the search for one family's linearization. What takes longer counts as undecided.
const searchLimit = 20 * time.Second

// Verdict is what Check found.
type Verdict struct {
	Problems  []string // empty: the history is correct
	Undecided int      // families whose search took too long
	Ops       int
}

// Check looks for an order of all ops of a history, each at a moment between its call and its answer, that a server
// without faults could have done them in. Together with the findings of Run that decides whether the promises were
// kept.
func (h *History) Check() Verdict {
	v := Verdict{Problems: slices.Clone(h.Findings), Ops: len(h.ops)}
	for _, family := range h.families() {
		m := &spec{pace: h.pace, local: family.ids}
		var ops []porcupine.Operation
		for _, o := range family.ops {
			ops = append(ops, porcupine.Operation{ClientId: o.request, Input: o, Call: o.call, Return: o.ret})
		}
		switch porcupine.CheckOperationsTimeout(m.model(), ops, searchLimit) {
		case porcupine.Illegal:
			v.Problems = append(v.Problems, "no order of these steps explains what was seen:\n"+m.explain(ops))
		case porcupine.Unknown:
			v.Undecided++
		}
	}
	return v
}

// family is what has to do with each other: the IDs that one session had, or could have had.
type family struct {
	ids map[int]int
	ops []*op
}

func (h *History) families() []*family {
	parent := map[int]int{}
	var root func(id int) int
	root = func(id int) int {
		if p, ok := parent[id]; ok && p != id {
			parent[id] = root(p)
		} else if !ok {
			parent[id] = id
		}
		return parent[id]
	}
	holders := map[int]int{} // handle to an ID
	for _, o := range h.ops {
		for _, id := range []int{o.id, o.next} {
			if id >= 0 {
				root(id)
			}
		}
		if o.id >= 0 && o.next >= 0 {
			parent[root(o.id)] = root(o.next)
		}
		if o.next >= 0 && o.handle >= 0 {
			holders[o.handle] = o.next
		}
	}
	byRoot := map[int]*family{}
	var all []*family
	of := func(id int) *family {
		f := byRoot[root(id)]
		if f == nil {
			f = &family{ids: map[int]int{}}
			byRoot[root(id)] = f
			all = append(all, f)
		}
		return f
	}
	for id := range parent {
		f := of(id)
		f.ids[id] = len(f.ids)
	}
	for _, o := range h.ops {
		id := max(o.id, o.next)
		if o.verb == opRevoke {
			var ok bool
			if id, ok = holders[o.handle]; !ok {
				continue
			}
		}
		f := of(id)
		f.ops = append(f.ops, o)
	}
	slices.SortFunc(all, func(a, b *family) int { return len(a.ops) - len(b.ops) })
	return all
}

// explain shows the longest order that was found, and what does not fit in behind it.
func (m *spec) explain(ops []porcupine.Operation) string {
	_, info := porcupine.CheckOperationsVerbose(m.model(), ops, searchLimit)
	var best []porcupine.Operation
	for _, family := range info.PartialLinearizationsOperations() {
		for _, partial := range family {
			if len(partial) > len(best) {
				best = partial
			}
		}
	}
	var b strings.Builder
	placed := map[*op]bool{}
	states := []state{make(state, len(m.local))}
	for _, o := range best {
		in := o.Input.(*op)
		placed[in] = true
		var next []state
		for _, s := range states {
			next = append(next, m.step(s, in)...)
			if in.optional {
				next = append(next, s)
			}
		}
		states = next
		fmt.Fprintf(&b, "    %v\n", in)
	}
	b.WriteString("  the model is then at\n")
	for _, s := range states[:min(len(states), 3)] {
		b.WriteString("    " + m.describe(s) + "\n")
	}
	b.WriteString("  and these don't fit:\n")
	for _, o := range ops {
		if in := o.Input.(*op); !placed[in] {
			fmt.Fprintf(&b, "    %v\n", in)
		}
	}
	return b.String()
}

func (m *spec) describe(s state) string {
	var parts []string
	for id, i := range m.local {
		e := s[i]
		switch e.kind {
		case live:
			parts = append(parts, fmt.Sprintf("K%d: %q H%d %v", id, e.who, e.handle, e.data))
		case renewed, replaced:
			parts = append(parts, fmt.Sprintf("K%d: %s -> K%d",
				id, []string{renewed: "renewed", replaced: "replaced"}[e.kind], e.to))
		case ended:
			parts = append(parts, fmt.Sprintf("K%d: ended", id))
		}
	}
	slices.Sort(parts)
	return strings.Join(parts, "; ")
}
