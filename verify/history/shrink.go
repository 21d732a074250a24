package history

import "slices"

// Shrink returns a smaller program that still fails: without the tabs, requests, actions, faults and circumstances that
// it can do without. fails runs a program and reports whether it does.
func Shrink(p Program, fails func(Program) bool) Program {
	for {
		smaller := shrinkOnce(p, fails)
		if smaller == nil {
			return p
		}
		p = *smaller
	}
}

// shrinkOnce returns the program after all steps that succeed, one after the other; nil: none does.
func shrinkOnce(p Program, fails func(Program) bool) *Program {
	var best *Program
	try := func(change func(*Program)) bool {
		q := p.clone()
		change(&q)
		if !fails(q) {
			return false
		}
		p, best = q, &q
		return true
	}
	for i := len(p.Tabs) - 1; i >= 0; i-- {
		try(func(q *Program) { q.Tabs = slices.Delete(q.Tabs, i, i+1) })
	}
	for i := range p.Tabs {
		for j := len(p.Tabs[i].Requests) - 1; j >= 0; j-- {
			at := func(q *Program) *Request { return &q.Tabs[i].Requests[j] }
			if try(func(q *Program) { q.Tabs[i].Requests = slices.Delete(q.Tabs[i].Requests, j, j+1) }) {
				continue
			}
			r := p.Tabs[i].Requests[j]
			for k := len(r.Actions) - 1; k >= 0; k-- {
				try(func(q *Program) { at(q).Actions = slices.Delete(at(q).Actions, k, k+1) })
			}
			circumstances := []struct {
				there bool
				leave func(*Request)
			}{
				{!r.Calm, func(r *Request) { r.Calm = true }},
				{r.Deaf, func(r *Request) { r.Deaf = false }},
				{r.HangUp > 0, func(r *Request) { r.HangUp = 0 }},
				{r.Return > 0, func(r *Request) { r.Return = 0 }},
				{r.Wait > 0, func(r *Request) { r.Wait = 0 }},
				{r.Copied > 0, func(r *Request) { r.Copied = 0 }},
				{r.Manager > 0, func(r *Request) { r.Manager = 0 }},
			}
			for _, c := range circumstances {
				if c.there {
					try(func(q *Program) { c.leave(at(q)) })
				}
			}
		}
	}
	for _, share := range []func(*Program) *float64{
		func(q *Program) *float64 { return &q.Faults.Refused },
		func(q *Program) *float64 { return &q.Faults.Lost },
		func(q *Program) *float64 { return &q.Faults.Late },
		func(q *Program) *float64 { return &q.Faults.Hung },
	} {
		if *share(&p) > 0 {
			try(func(q *Program) { *share(q) = 0 })
		}
	}
	return best
}

func (p Program) clone() Program {
	p.Tabs = slices.Clone(p.Tabs)
	for i := range p.Tabs {
		p.Tabs[i].Requests = slices.Clone(p.Tabs[i].Requests)
		for j := range p.Tabs[i].Requests {
			r := &p.Tabs[i].Requests[j]
			r.Actions = slices.Clone(r.Actions)
		}
	}
	return p
}
