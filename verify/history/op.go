package history

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// opVerb is what an op does to the sessions of the model.
type opVerb uint8

const (
	opRead    opVerb = iota // From, Reload: what a request sees
	opWrite                 // a save of changes
	opTake                  // Key.Take
	opCreate                // the first save of a session, and a Login without one
	opRenew                 // a save with Renew
	opHard                  // the new ID of RevokeOthers, which retires the old one
	opLogin                 // a save with Login
	opEnd                   // Logout, RevokeAll, RevokeOthers: ends what is under an ID, wherever it went
	opRevoke                // Revoke: ends what has a handle
	opRepeats               // a write whose answer was lost and that is sent again: it may be applied twice
)

var opNames = [...]string{"read", "write", "take", "create", "renew", "hard", "login", "end", "revoke", "repeats"}

// outcome is what the caller was told.
type outcome uint8

const (
	saved     outcome = iota // it has happened
	dropped                  // the session had ended (ErrEnded)
	uncertain                // it has happened, will happen, or never (ErrUncertain)
)

var outcomeNames = [...]string{"", " DROPPED", " UNCERTAIN"}

// forever is when an op returns whose caller does not know whether it has happened.
const forever = math.MaxInt64

// op is one step of a history as porcupine sees it. What had no effect by what its caller was told (ErrUnavailable) is
// no op at all: if it had one, no linearization explains it.
type op struct {
	request   int
	verb      opVerb
	outcome   outcome
	id, next  int    // the ID that the request acts on, and the one that it made; -1: none
	who       string // the principal that the request acts under
	login     string // the principal after opCreate and opLogin
	handle    int    // of the session; of opEnd: the one to spare, -1: none
	changes   []change
	scratch   bool   // opLogin: over another principal, so that nothing is kept
	key       int    // of opTake
	value     string // what opTake got; "": nothing
	own       bool   // opTake: the value was this request's own
	live      bool   // opRead: there was a session
	reason    string // opRead: why there was none
	view      *data  // what the request saw after the op
	pending   []change
	optional  bool // may not have happened
	stale     bool // opRead: a cache may have answered
	server    int
	shared    bool // opWrite: sent by another request's save, or not at all where nothing differs
	call, ret int64
	callAt    time.Duration
	retAt     time.Duration
}

func (o *op) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "r%d %s", o.request, opNames[o.verb])
	if o.verb == opEnd && o.handle >= 0 {
		fmt.Fprintf(&b, " but H%d", o.handle)
	}
	if o.id >= 0 {
		fmt.Fprintf(&b, " K%d", o.id)
	}
	if o.next >= 0 {
		fmt.Fprintf(&b, " -> K%d", o.next)
	}
	if o.who != "" {
		fmt.Fprintf(&b, " as %s", o.who)
	}
	switch o.verb {
	case opLogin, opCreate:
		fmt.Fprintf(&b, " login=%s", o.login)
	case opTake:
		fmt.Fprintf(&b, " %s: got %q", keyNames[o.key], o.value)
	case opRead:
		fmt.Fprintf(&b, " live=%v %s", o.live, o.reason)
	}
	if len(o.changes) > 0 {
		fmt.Fprintf(&b, " %v", o.changes)
	}
	b.WriteString(outcomeNames[o.outcome])
	if o.optional {
		b.WriteString(" (perhaps)")
	}
	if o.view != nil {
		fmt.Fprintf(&b, " sees %v", *o.view)
	}
	if o.ret == forever {
		fmt.Fprintf(&b, " [%d..", o.call)
	} else {
		fmt.Fprintf(&b, " [%d..%d]", o.call, o.ret)
	}
	return b.String()
}
