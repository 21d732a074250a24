// Package outage takes the servers of stores away from an application while clients use it, and checks what the clients
// were told.
//
// An application on two servers, with a Manager and a store each, answers real HTTP clients that keep their cookies.
// Some stay logged in and count their visits with Update, several requests at once, one of them renews its ID
// meanwhile; another logs in and out, or is revoked, again and again. Meanwhile the store's server is killed, paused,
// cut off, replaced by its replica, filled up. Each client adds up what it was told: done, refused (503 after
// ErrUnavailable), or uncertain (503 after ErrUncertain). What is claimed:
//
//   - Every answer comes in bounded time. One that is not from the handler is a 503 with Retry-After, without a cookie
//     and without anything of the handler's output.
//   - A session's count, whenever it is read, is at least what was acknowledged before, and at most what was not
//     refused. No two counts give the same number.
//   - Nobody is logged out, by the outage or by a cookie.
//   - A session whose end was acknowledged is never seen again. One whose end was refused lives.
//   - When the server is back, the application is of use again, with no help.
//   - No goroutine is left when the Managers and stores are closed.
//
// The package itself knows no server: its tests bring the real ones, and stores that break one rule each, to show that
// each claim can fail.
//
//	go test ./outage                            what CI runs
//	go test ./outage -run Outages/redis -v      one store, with numbers
//	go test ./outage -run Losses -v             what settings without a promise lose
package outage
