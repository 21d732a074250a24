package history

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hipflask/session/store/storetest"
)

// Program is what happens outside of the servers: which browsers send what, when, and which faults the store has. The
// same program and seed give the same history, as far as goroutines run in the same order.
type Program struct {
	Seed     uint64
	Managers int
	Faults   storetest.Faults
	Tabs     []Tab
}

// Tab sends requests one after the other. Tabs of one browser share its cookie jar; those of another one run meanwhile.
type Tab struct {
	Browser  int
	Requests []Request
}

// Request is one request of a tab, or one step of an administrator.
type Request struct {
	ID      int           // names it; the source of its faults
	Wait    time.Duration // before it is sent
	Manager int           // which server gets it
	Actions []Action      // of the handler
	Copied  int           // 0: with the jar's cookie; n: with the n-th one that was ever sent out, as a thief would
	HangUp  time.Duration // when the client gives up; 0: never
	Deaf    bool          // the answer does not reach the client
	Return  time.Duration // the answer's way to the client
	Calm    bool          // the store does not fail
}

// Verb is what an action does.
type Verb uint8

// The verbs: methods of a Session and its keys, pauses and the first byte of the answer. The last ones need no session
// and are an administrator's.
const (
	Set Verb = iota
	Flag
	Delete
	Append
	Flash
	Flashes
	Clear
	Label
	Attribute
	Public
	Code
	Take
	Save
	Reload
	Login
	Renew
	Logout
	RevokeOthers
	Sleep
	Write
	RevokeAll
	Revoke
	verbs
)

var verbNames = [verbs]string{"Set", "Flag", "Delete", "Append", "Flash", "Flashes", "Clear", "Label",
	"Attribute", "Public", "Code", "Take", "Save", "Reload",
	"Login", "Renew", "Logout", "RevokeOthers", "Sleep", "Write", "RevokeAll", "Revoke"}

// Action is one call of a handler.
type Action struct {
	Verb Verb
	Key  int           // of Set, Delete, Code and Take
	Who  string        // the principal of Login, RevokeAll and Revoke; the value of Flag
	Nth  int           // which of the principal's sessions Revoke is for
	Time time.Duration // of Sleep
}

func (a Action) String() string {
	switch a.Verb {
	case Set, Delete, Code, Take:
		return verbNames[a.Verb] + " " + keyNames[a.Key]
	case Login, RevokeAll, Flag:
		return verbNames[a.Verb] + " " + a.Who
	case Revoke:
		return fmt.Sprintf("Revoke %s's session %d", a.Who, a.Nth)
	case Sleep:
		return fmt.Sprint("Sleep ", a.Time)
	}
	return verbNames[a.Verb]
}

func (r Request) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "r%d: after %v to server %d", r.ID, r.Wait, r.Manager)
	if r.Copied > 0 {
		fmt.Fprintf(&b, " with copied cookie %d", r.Copied)
	}
	if r.HangUp > 0 {
		fmt.Fprintf(&b, ", hangs up after %v", r.HangUp)
	}
	if r.Deaf {
		b.WriteString(", answer lost")
	}
	if r.Return > 0 {
		fmt.Fprintf(&b, ", answer takes %v", r.Return)
	}
	if r.Calm {
		b.WriteString(", no faults")
	}
	fmt.Fprintf(&b, " %v", r.Actions)
	return b.String()
}

// WithoutIndex returns p without what needs an index of principals.
func (p Program) WithoutIndex() Program {
	p = p.clone()
	for i := range p.Tabs {
		for j := range p.Tabs[i].Requests {
			r := &p.Tabs[i].Requests[j]
			r.Actions = slices.DeleteFunc(r.Actions, func(a Action) bool {
				return a.Verb == RevokeOthers || a.Verb >= RevokeAll
			})
		}
	}
	return p
}

func (p Program) String() string {
	var b strings.Builder
	f := p.Faults
	fmt.Fprintf(&b, "seed %d: %d servers; faults: refused %.2f, lost %.2f, late %.2f (up to %v), hung %.2f\n",
		p.Seed, p.Managers, f.Refused, f.Lost, f.Late, f.MaxDelay, f.Hung)
	for i, tab := range p.Tabs {
		fmt.Fprintf(&b, "tab %d of browser %d\n", i, tab.Browser)
		for _, r := range tab.Requests {
			fmt.Fprintf(&b, "  %v\n", r)
		}
	}
	return b.String()
}
