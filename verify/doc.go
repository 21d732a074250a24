// Package verify is the root of everything that only tests; it has no code of its own. Each folder below it says in its
// package comment what it shows. As run from the repository's root:
//
//	the protocol
//	    go run ./verify/model -new      every interleaving in a model of the protocol; go test explores its beginning
//	    go test -v ./verify/interleave  every interleaving of a few requests on the real code
//	    go test ./verify/history        random programs of requests and faults, checked for linearizability
//	    go test -v ./verify/outage      the stores' servers killed, paused, cut off and failed over
//
//	the neighbours
//	    go test ./verify/edges          other people's routers, middleware and WebSocket libraries
//	    go test ./verify/browser        the login example in Chromium
//	    go test ./verify/interop        the real Flask
//	    go test ./verify/flasktables    the layout of Flask-Session's table, on every database
//	    go test ./verify/releases       every release of Go encodes and refuses alike
//	    go test ./verify/steps          the work of each parser is linear in its bytes
//
//	the cost
//	    ./bench                         this library beside others, and beside the floor under each
//
// Those with requirements that nothing else has are modules of their own: edges, browser, interop and benchmarks. The
// others are packages of this module, which may import every store.
package verify
