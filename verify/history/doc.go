// Package history runs random concurrent programs of requests over the real Managers on a store that fails, and checks
// that what the clients and handlers saw has an explanation.
//
// A program has one or two browsers with several tabs each, an administrator, and two to four servers. Requests set,
// update, read and take values, log in, renew, log out and revoke, save early or late, and hang up; the store
// (storetest.Faulty) refuses calls, loses answers, hangs, and lets writes arrive late. What each request saw and was
// told becomes a history of steps, and porcupine looks for an order of them in which a server without faults could have
// done them: a step whose answer was ErrUncertain may come at any later time or never, what was answered with
// ErrUnavailable or dropped with ErrEnded must have had no effect.
//
// Some rules need no search, and are checked as the history goes: an ID is given out once and only by an answer that
// needs it, no cookie comes with a failure, an Update is never there twice, a Take has one winner, no principal sees
// what another one stored, nothing works after Lifetime, and without faults nothing fails.
//
// Servers may have caches (store.StaleLoader): then a plain read may come as much earlier as the cache may be old, but
// not before what its own server had written or found past the cache by then. Everything else stays as strict.
//
// In a bubble of testing/synctest with seeded randomness a history takes about a millisecond and is the same in every
// replay. Stores on files and on real servers run in real time, one for each server on the same data.
//
//	go test ./history                                      what CI runs
//	go test ./history -run TestHistories -v -seed 1216     replay, shortened, with a log
//	go test ./history -history.duration 2h -timeout 0      other seeds, for hours
//	go test ./history -run HistoriesOnStores/files -v      one of the stores
//
// # What it does not ask for
//
// A save of plain Sets whose answer was lost is sent again, so it may be applied twice within its request: an
// overlapping Set of the same key that another request was told of in between can be overwritten. A request that began
// as an anonymous one and follows a login keeps its old view.
//
// What needs three changes of one session while a fourth request is under way is rare here: a save that forgets, on its
// way along two logins, whose session it is in, went unnoticed for 12,000 histories. Package interleave drives such
// cases on purpose.
package history
