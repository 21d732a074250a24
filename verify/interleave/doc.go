// Package interleave drives the real Managers through every interleaving of a few overlapping requests, and checks
// the rules that the save protocol's model was checked by (docs/protocol.md).
//
// Store calls are the only points where requests of different processes meet. So a store that stops each call until a
// scheduler lets it go decides in which order things happen, and what fails. A run is a list of such decisions: which
// request goes on, which call fails, is applied though its answer is lost, or arrives after its caller has given up;
// when a browser sends a request and gets an answer, by whose Set-Cookie the next one goes; when more time passes
// than tombstones live; which process dies. The explorer takes all of them, depth first, by running from the start
// each time. Each request goes through Manager.Handler in a goroutine of its own, within a testing/synctest bubble,
// which tells when all of them have stopped and makes timeouts and pauses cost nothing.
//
// # Words
//
// A record's place (K0, K(login(A))) stands for its random key: the session of the start, or the record that a request
// created. A session is what Renew carries on from record to record. Findings begin with the promise that is broken, P1
// to P4 of the README, or with what is wrong: PRINCIPAL (somebody else's data or session), LOGIN (one without effect),
// AVAILABLE (a 503 that need not be), ANSWER (no proper one). Those that begin with "(doc)" can't be avoided by a
// server, and a scenario says which of them it may show.
//
// # Commands
//
//	go test -v                         all scenarios, with the numbers of runs and interleavings
//	go test -v -more                   one fault more, crashes, and the scenarios of four requests
//	go test -v -scenario 'renew' -faults 2 -managers 1
//	go test -run Ablations -ablate     switches off each rule of the protocol, and sees it caught
//
// An interleaving is a whole list of decisions. A run stops where it comes to a state that has been explored, so that
// it stands for many; TestPruning compares that with running every one. Orders that make no difference are left out,
// see choices; TestOrders compares that with taking them all.
//
// # Limits
//
// The store is correct and shared by all. One browser sends all requests. At most one write at a time is on its way
// after its caller has given up. What goroutines of one request do to each other is not explored.
package interleave
