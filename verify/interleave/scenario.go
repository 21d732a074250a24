package interleave

import "time"

const maxRequests = 4

// scenario is a set of overlapping requests of one browser, with the session that it has at the start.
type scenario struct {
	name      string
	requests  []spec
	principal uint8 // of the session at the start
	noStart   bool  // no session at the start
	idle      bool  // that session was used two hours ago: it is due for a Touch
	apart     bool  // the store's principal index is apart from its records
	scan      scan
	most      int // Config.MaxSessions
	// store calls that fail, are applied though the answer is lost, or arrive after the caller has given up
	faults  int
	jumps   []time.Duration // times that pass while requests are under way, one after the other
	crashes int             // processes that die
	may     exception
}

// exception is something that no server can avoid; docs/protocol.md names them. A scenario says which it may show, so
// that another one that begins to show them is noticed.
type exception uint8

const (
	parallel  exception = 1 << iota // of two requests that change the cookie the last to arrive wins
	separate                        // so does one that was sent without a live cookie
	overtaken                       // a login that others overtake again and again ends itself
	// after a 503 "uncertain", or a crash, the session may be under an ID that nobody has
	untold
)

var (
	read   = spec{name: "read"}
	set    = spec{name: "set", set: true}
	upd    = spec{name: "upd", update: true}
	setupd = spec{name: "setupd", set: true, update: true}
	take   = spec{name: "take", take: true}
	flags  = spec{name: "flag", flag: true}
	unflag = spec{name: "unflag", unflag: true}
	attr   = spec{name: "attribute", attribute: true}
	attrS  = spec{name: "attribute+set", attribute: true, set: true}
	loginT = spec{name: "login(A)+attribute", life: login, principal: 1, attribute: true}
	renews = spec{name: "renew", life: renew}
	renewS = spec{name: "renew+set", life: renew, set: true}
	elev   = spec{name: "elevate", life: elevate}
	elevS  = spec{name: "elevate+set", life: elevate, set: true}
	clearA = spec{name: "clear+login(A)", life: login, principal: 1, clear: true}
	ends   = spec{name: "logout", life: logout}
	loginA = spec{name: "login(A)", life: login, principal: 1}
	loginS = spec{name: "login(A)+upd", life: login, principal: 1, update: true}
	loginB = spec{name: "login(B)", life: login, principal: 2}
	twice  = spec{name: "upd+Save+set", set: true, save: true, update: true}
	twiceR = spec{name: "renew+upd+Save+set", life: renew, set: true, save: true, update: true}
	tail   = spec{name: "set+byte+upd", set: true, tail: true, update: true}
	takes  = spec{name: "take+set", take: true, set: true}
	endsS  = spec{name: "logout+set", life: logout, set: true}
	endsB  = spec{name: "logout+login(B)", leave: true, life: login, principal: 2}
	others = spec{name: "revokeOthers", life: revokeOthers}
	there  = spec{name: "login(A) elsewhere", life: login, principal: 1, elsewhere: true}
	thereB = spec{name: "login(A) behind", life: login, principal: 1, elsewhere: true, clock: -5}
	early  = spec{name: "login(A) long ago", life: login, principal: 1, elsewhere: true, clock: -50}
	thereF = spec{name: "login(A) ahead", life: login, principal: 1, elsewhere: true, clock: 5}
	revoke = spec{name: "revokeAll(A)", life: revokeAll, principal: 1}
)

func second(s spec) spec { s.name += "2"; return s }
func third(s spec) spec  { s.name += "3"; return s }

// after is s, sent when the response of the i-th request (from 1) has arrived.
func after(s spec, i int) spec { s.after = i; s.name += "'"; return s }

func bare(s spec) spec { s.bare = true; s.name += "(no cookie)"; return s }

func of(s ...spec) []spec { return s }

// Pauses, against the Grace and the StoreTimeout of the Managers here. All but the first of slow end the store calls
// that are under way.
var (
	whole  = []time.Duration{grace + storeTimeout + time.Second}
	halves = []time.Duration{(grace+storeTimeout)/2 + time.Second, (grace+storeTimeout)/2 + time.Second}
	slow   = []time.Duration{storeTimeout - time.Second, grace - storeTimeout + 2*time.Second}
)

// scenarios are those of the model that the protocol was checked with, and reads.
var scenarios = []scenario{
	{name: "set|upd", requests: of(set, upd), faults: 2},
	{name: "upd|upd", requests: of(upd, second(upd)), faults: 2},
	{name: "upd|upd|set", requests: of(upd, second(upd), set), faults: 1},
	{name: "upd|upd|upd", requests: of(upd, second(upd), third(upd)), faults: 1},
	// without faults: a removal whose answer was lost may come again
	{name: "flag|unflag|flag", requests: of(flags, unflag, second(flags))},
	{name: "upd|upd|renew", requests: of(upd, second(upd), renews), principal: 1, faults: 1},
	{name: "upd|setupd|login", requests: of(upd, setupd, loginA), faults: 1},
	{name: "upd|set|logout", requests: of(upd, set, ends), principal: 1, faults: 1},
	{name: "upd|upd|take", requests: of(upd, second(upd), take), faults: 1},
	{name: "take|take", requests: of(take, second(take)), faults: 2},
	{name: "take|take|renew", requests: of(take, second(take), renews), principal: 1, faults: 1},
	{name: "take|login", requests: of(take, loginA), faults: 2},
	{name: "attribute|attribute", requests: of(attr, second(attr)), faults: 2},
	{name: "attribute|renew", requests: of(attrS, renews), principal: 1, faults: 2},
	{name: "attribute|login", requests: of(attrS, loginT), faults: 2},
	{name: "attribute|login again", requests: of(attr, loginT), principal: 1, faults: 1},
	{name: "setupd|renew", requests: of(setupd, renews), principal: 1, faults: 2},
	{name: "setupd|renew expiry", requests: of(setupd, renews), principal: 1, faults: 1, jumps: whole},
	{name: "set|renew+set|renew+set", requests: of(set, renewS, second(renewS)), principal: 1, faults: 1},
	{name: "setupd|login", requests: of(setupd, loginS), faults: 2},
	{name: "setupd|login expiry", requests: of(setupd, loginA), faults: 1, jumps: whole},
	{name: "setupd|renew half expiry", requests: of(setupd, renews), principal: 1, faults: 1, jumps: halves},
	{name: "setupd|renew slow store", requests: of(setupd, renews), principal: 1, jumps: slow},
	{name: "setupd|login half expiry", requests: of(setupd, loginA), faults: 1, jumps: halves},
	{name: "set|login;renew", requests: of(set, loginA, after(renews, 2)), faults: 1},
	{name: "set|login(B) over A", requests: of(set, loginB), principal: 1, faults: 2},
	{name: "set|login(B);login(A) over A", requests: of(set, loginB, after(loginA, 2)), principal: 1, faults: 1},
	{name: "set|login(A);login(B)", requests: of(set, loginA, after(loginB, 2)), faults: 1},
	{name: "login|login", requests: of(loginS, second(loginS)), faults: 2},
	{name: "login|login|set", requests: of(loginS, second(loginS), set), faults: 1},
	{name: "login|renew", requests: of(loginA, renewS), faults: 2, may: parallel},
	{name: "logout|set", requests: of(ends, set), principal: 1, faults: 2},
	{name: "logout|renew", requests: of(ends, renews), principal: 1, faults: 2},
	{name: "logout|renew|set", requests: of(ends, renews, set), principal: 1, faults: 1},
	{name: "logout|renew|renew", requests: of(ends, renews, second(renews)), principal: 1, faults: 1},
	{name: "logout|renew;renew", requests: of(ends, renews, after(renews, 2)), principal: 1, faults: 1},
	{name: "logout|login(A) over A", requests: of(ends, loginA), principal: 1, faults: 2, may: parallel},
	{name: "logout|login(B) over A", requests: of(ends, loginB), principal: 1, faults: 2, may: parallel},
	{name: "logout|login from anonymous", requests: of(ends, loginA), faults: 2, may: parallel},
	{name: "logout;login|set", requests: of(ends, after(loginA, 1), set), principal: 1, faults: 1, may: separate},
	{name: "renew|touch", requests: of(renews, read), principal: 1, idle: true, faults: 2},
	{name: "login|touch", requests: of(loginA, read), idle: true, faults: 2},
	{name: "login|set no cookie", requests: of(loginA, bare(set)), noStart: true, faults: 2, may: separate},
	{name: "login|set|set", requests: of(loginA, set, second(set)), faults: 1},
	{name: "logout|read", requests: of(ends, read), principal: 1, faults: 2},
	{name: "renew|read|read", requests: of(renews, read, after(read, 1)), principal: 1, faults: 1},
	{name: "login(B)|read over A", requests: of(loginB, read, after(read, 1)), principal: 1, faults: 1},
	{name: "revoke|set", requests: of(revoke, set), principal: 1, faults: 2},
	{name: "revoke|renew", requests: of(revoke, renews), principal: 1, faults: 2},
	{name: "revoke|renew down", requests: of(revoke, renews), principal: 1, scan: scanDown, faults: 2},
	{name: "revoke|renew snapshot", requests: of(revoke, renews), principal: 1, scan: scanSnapshot, faults: 2},
	{name: "revoke|renew;renew", requests: of(revoke, renews, after(renews, 2)), principal: 1, faults: 1},
	{name: "revoke|renew;renew down", requests: of(revoke, renews, after(renews, 2)), principal: 1, scan: scanDown,
		faults: 1},
	{name: "revoke|renew;renew snapshot", requests: of(revoke, renews, after(renews, 2)), principal: 1,
		scan: scanSnapshot, faults: 1},
	{name: "revoke|renew expiry", requests: of(revoke, renews), principal: 1, scan: scanDown, faults: 1, jumps: whole},
	{name: "revoke|renew half expiry", requests: of(revoke, renews), principal: 1, scan: scanDown, faults: 1,
		jumps: halves},
	{name: "renew|renew expiry", requests: of(renews, second(renews)), principal: 1, faults: 1, jumps: whole},
	{name: "logout|renew expiry", requests: of(ends, renews), principal: 1, faults: 1, jumps: whole},
	{name: "logout|set;set expiry", requests: of(ends, set, after(second(set), 1)), principal: 1, jumps: whole},
	{name: "revoke|login", requests: of(revoke, loginA), faults: 2},
	{name: "revoke|login|set", requests: of(revoke, loginA, set), principal: 1, faults: 1},
	{name: "index: login;revoke", requests: of(loginA, after(revoke, 1)), apart: true, faults: 2},
	{name: "index: revoke|login;revoke", requests: of(revoke, loginA, after(revoke, 2)), apart: true, faults: 1},
	{name: "index: revoke|renew;revoke", requests: of(revoke, renews, after(revoke, 2)), principal: 1,
		apart: true, faults: 1},
}

// hard are scenarios of moves that retire the ID at once, and of a Login with a Clear.
var hard = []scenario{
	{name: "setupd|elevate", requests: of(setupd, elev), principal: 1, faults: 2},
	{name: "setupd|elevate expiry", requests: of(setupd, elev), principal: 1, faults: 1, jumps: whole},
	{name: "take|elevate", requests: of(take, elev), principal: 1, faults: 1},
	{name: "attribute|elevate", requests: of(attrS, elev), principal: 1, faults: 1},
	{name: "twice|elevate", requests: of(twice, elev), principal: 1, faults: 1},
	{name: "tail|elevate", requests: of(tail, elev), principal: 1, faults: 1},
	{name: "elevate|renew", requests: of(elevS, renews), principal: 1, faults: 1, may: parallel},
	{name: "renew|elevate;read", requests: of(renews, elev, after(read, 2)), principal: 1, faults: 1, may: parallel},
	{name: "elevate|elevate", requests: of(elevS, second(elev)), principal: 1, faults: 1, may: parallel},
	{name: "elevate|login", requests: of(elevS, loginA), principal: 1, faults: 1, may: parallel},
	{name: "elevate|login(B)", requests: of(elevS, loginB), principal: 1, faults: 1, may: parallel},
	{name: "elevate|logout", requests: of(elevS, ends), principal: 1, faults: 2, may: parallel},
	{name: "elevate|revoke", requests: of(elev, revoke), principal: 1, faults: 1},
	{name: "elevate|others", requests: of(elev, others), principal: 1, faults: 1, may: parallel},
	{name: "elevate|set|set", requests: of(elev, set, second(set)), principal: 1},
	{name: "others|renew", requests: of(others, renews), principal: 1, faults: 1, may: parallel},
	{name: "others|others", requests: of(others, second(others)), principal: 1, faults: 1, may: parallel},
	{name: "renew|others;set", requests: of(renews, others, after(set, 1)), principal: 1, may: parallel},
	{name: "setupd|clear+login", requests: of(setupd, clearA), faults: 1},
	{name: "twice|clear+login", requests: of(twice, clearA), faults: 1},
	{name: "set|login;clear+login", requests: of(set, loginA, after(clearA, 2)), faults: 1},
	{name: "set|clear+login over A", requests: of(set, clearA), principal: 1, faults: 1},
}

// mixed are scenarios of requests that do several things.
var mixed = []scenario{
	{name: "twice|upd", requests: of(twice, upd), faults: 2},
	{name: "twice|renew", requests: of(twice, renews), principal: 1, faults: 2},
	{name: "twice|login", requests: of(twice, loginA), faults: 2},
	{name: "twice|logout", requests: of(twice, ends), principal: 1, faults: 2},
	{name: "renew twice|upd", requests: of(twiceR, upd), principal: 1, faults: 2},
	{name: "renew twice|renew", requests: of(twiceR, renews), principal: 1, faults: 2},
	{name: "tail|upd", requests: of(tail, upd), faults: 2},
	{name: "tail|renew", requests: of(tail, renews), principal: 1, faults: 2},
	{name: "tail|login", requests: of(tail, loginA), faults: 2},
	{name: "tail|logout", requests: of(tail, ends), principal: 1, faults: 2},
	{name: "take+set|take", requests: of(takes, take), faults: 2},
	{name: "take+set|renew", requests: of(takes, renews), principal: 1, faults: 2},
	{name: "take+set|login", requests: of(takes, loginA), faults: 2},
	{name: "logout+set|set", requests: of(endsS, set), principal: 1, faults: 2},
	{name: "logout+set|renew", requests: of(endsS, renews), principal: 1, faults: 2, may: parallel},
	{name: "logout+set|login", requests: of(endsS, loginA), faults: 2, may: parallel},
	{name: "logout+login(B)|setupd", requests: of(endsB, setupd), principal: 1, faults: 2},
	{name: "logout+login(B)|renew", requests: of(endsB, renews), principal: 1, faults: 2, may: parallel},
	{name: "logout+login(B)|login(A)", requests: of(endsB, loginA), faults: 2, may: parallel},
	{name: "others|set", requests: of(others, set), principal: 1, faults: 2},
	{name: "elsewhere;others|set", requests: of(there, after(others, 1), set), principal: 1, faults: 1},
	{name: "elsewhere;others|renew", requests: of(there, after(others, 1), renews), principal: 1, faults: 1,
		may: parallel},
	{name: "elsewhere|others|set", requests: of(there, others, set), principal: 1, faults: 1},
}

// limited are scenarios with a limit to the sessions of A, who is logged in at the start.
var limited = []scenario{
	{name: "limit 2: login|login", requests: of(there, second(there)), principal: 1, may: overtaken,
		most: 2, faults: 1},
	{name: "limit 1: login ahead;login behind", requests: of(thereF, after(thereB, 1)), principal: 1,
		most: 1, faults: 1},
	{name: "limit 1: login|renew", requests: of(there, renews), principal: 1, most: 1, faults: 1},
	{name: "limit 1: login|renew down", requests: of(there, renews), principal: 1, most: 1, scan: scanDown, faults: 1},
	{name: "limit 2: login|renew", requests: of(there, renews), principal: 1, most: 2, faults: 1},
	{name: "limit 2: login|renew down", requests: of(there, renews), principal: 1, most: 2, scan: scanDown, faults: 1},
	{name: "limit 2: login|renew snapshot", requests: of(there, renews), principal: 1, most: 2, scan: scanSnapshot,
		faults: 1},
	{name: "limit 1: login over own", requests: of(loginA), principal: 1, most: 1, faults: 2},
	{name: "limit 2: login|login over own", requests: of(there, loginA), principal: 1, most: 2, faults: 1},
	{name: "limit 2: login|login over own down", requests: of(there, loginA), principal: 1, most: 2,
		scan: scanDown, faults: 1},
	{name: "limit 3: login;login|login over own", requests: of(early, after(there, 1), after(loginA, 1)),
		principal: 1, most: 3},
	{name: "limit 1: login|login from anonymous", requests: of(there, loginS), may: overtaken, most: 1},
	{name: "limit 2: login|revoke", requests: of(there, revoke), principal: 1, most: 2, faults: 1},
	{name: "limit 3: login;revoke|renew down", requests: of(there, after(revoke, 1), after(renews, 1)), principal: 1,
		most: 3, scan: scanDown, faults: 1},
	{name: "limit 1: login|logout", requests: of(there, ends), principal: 1, most: 1, faults: 1},
	{name: "limit 1: login|set", requests: of(there, set), principal: 1, most: 1, faults: 1},
	{name: "limit 2: login|set from anonymous", requests: of(there, loginA, set), most: 2},
}

// large are the model's scenarios of four requests: too many interleavings for every day.
var large = []scenario{
	{name: "limit 1: login|login", requests: of(there, second(there)), principal: 1, may: overtaken, most: 1},
	{name: "limit 1: login|login behind", requests: of(there, thereB), principal: 1, may: overtaken,
		most: 1, faults: 1},
	{name: "limit 1: login|login|login", requests: of(there, second(there), third(there)), principal: 1,
		may: overtaken, most: 1},
	{name: "limit 2: login|login|login", requests: of(there, second(there), third(there)), principal: 1,
		may: overtaken, most: 2},
	{name: "limit 1: login ahead;login|login", requests: of(thereF, after(there, 1), after(second(there), 1)),
		principal: 1, may: overtaken, most: 1},
	{name: "set|renew|renew|logout", requests: of(set, renews, second(renews), ends), principal: 1, faults: 1,
		may: parallel},
	{name: "upd|upd|login|renew", requests: of(upd, second(upd), loginA, renews), faults: 1, may: parallel},
	{name: "revoke|login|renew|set", requests: of(revoke, loginA, renews, set), principal: 1, faults: 1, may: parallel},
	{name: "take|take|login|renew", requests: of(take, second(take), loginA, renews), faults: 1, may: parallel},
	{name: "logout;login|set|renew", requests: of(ends, after(loginA, 1), set, renews), principal: 1,
		faults: 1, may: parallel | separate},
}
