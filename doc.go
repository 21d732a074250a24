// Package session keeps server-side sessions for Go web applications: a dictionary for each client, as easy to use as
// Flask's session and safe under concurrency.
//
// This is a whole program:
//
//	package main
//
//	import (
//		"fmt"
//		"log"
//		"net/http"
//		"os"
//
//		"github.com/hipflask/session"
//	)
//
//	const visits = session.Key[int]("visits")
//
//	func main() {
//		sessions, err := session.New(session.Config{SecretKey: os.Getenv("SECRET_KEY")})
//		if err != nil {
//			log.Fatal(err)
//		}
//		defer sessions.Close()
//
//		mux := http.NewServeMux()
//		mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
//			s := session.From(r)
//			n := visits.Update(s, func(n int) int { return n + 1 })
//			fmt.Fprintf(w, "visit %d\n", n)
//		})
//		log.Fatal(http.ListenAndServe(":8080", sessions.Handler(mux)))
//	}
//
// [New] checks a [Config], in which only SecretKey is required, and returns a [Manager]. [Manager.Handler] gives every
// request inside it a [Session], which [From] returns. A [Key] reads and writes one value of a type, [Session.Login]
// says who the client is, and [Session.Logout] ends the session. Nothing else is necessary: the Handler saves what has
// changed before the first byte of the response is sent, and sets the cookie if one is needed.
//
// Browsers drop Secure cookies that come over plain http, some of them also from localhost: set [Config.InsecureHTTP]
// for development.
//
// # Stores
//
// A session is kept in a [store.Store]. The default is a [filestore], in a private folder of this machine. Packages
// below [store] keep sessions in memory, SQLite, PostgreSQL, MySQL, MariaDB, Redis, Valkey and memcached; each client
// library has a module of its own. A store of your own needs five methods.
//
// [EncryptedCookie] keeps the whole session in the cookie and needs no server, but gives up the promises of the next
// section.
//
// A request that doesn't look at its session costs no access to the store. The first look costs one load, and a change
// one write. A session without values and without a login is not stored, and gets no cookie.
//
// # Concurrency
//
// A [Manager] is safe for concurrent use. A [Session] is safe for concurrent use by the goroutines of its request.
//
// Overlapping requests of one session, in one process or in many, each work on a view of their own; none waits for the
// handler of another. A save applies the changes of its request to what is stored by then:
//
//   - Changes of different keys are all kept. If two requests Set the same key, the later save wins.
//   - [Key.Update] is atomic also on the same key. Its function may run several times.
//   - [Key.Take] gives a one-time value to exactly one of all requests.
//   - [Session.Logout], [Manager.Revoke] and [Manager.RevokeAll] are final: no request in flight brings the session
//     back.
//   - When [Session.Login] or [Session.Renew] changes the session ID, requests in flight keep their changes, for the
//     time of [Config.Grace], and don't overwrite the new cookie. Changes made under one principal never reach a
//     session of another one.
//
// [Manager.Load] has the same guarantees for WebSockets, gRPC calls and jobs.
//
// # Errors
//
// Methods that change a session return no error, so a handler without error handling still fails closed. If the session
// can't be loaded or saved, the Handler discards the handler's response and sends that of [Config.ErrorHandler]; by
// default 503 with Retry-After in an outage, else 500. The client's cookie stays as it was. [Session.Err] returns what
// went wrong. Three errors leave the response as it is, since only changes are lost: [ErrEnded], [ErrTooLate] and
// [ErrCrossSite].
//
// The side effects of the handler itself can't be taken back. [Manager.Preload] runs a handler only if its session
// could be loaded, and [Open] returns the error instead. [Session.Save] and [Key.Take] save at once and return the
// error.
//
// A new cookie can be sent only before the first byte of the response. So log in, renew, or make the first change of a
// new session before you write; other changes may come later, and cost a second save.
//
// [Config.OnEvent] gets an [Event] for everything that an operator may want to know, such as a rejected cookie and the
// [Reason] for it.
//
// # Expiry
//
// The server decides when a session expires, whatever the browser does. [Config.IdleTimeout] ends a session that had no
// request for 24 hours, [Config.Lifetime] ends it 30 days after its creation or last login, unless you set other times.
// Only requests that look at their session count. Renew does not extend the lifetime.
//
// The cookie ends with the browser, unless [Session.SetPersistent] or [Cookie.Persistent] says otherwise. A persistent
// session has timeouts of its own: [Config.PersistentIdleTimeout] and [Config.PersistentLifetime].
//
// A session is invalid as soon as it expires. If the store doesn't remove expired records itself, the Manager does so
// in the background ([Config.SweepInterval]).
//
// # Security
//
// The defaults are those of the OWASP ASVS 5.0: the cookie is __Host-session, Secure, HttpOnly, SameSite=Lax; a session
// ID has 128 random bits; Login gives a new ID. IDs are signed with a key derived from [Config.SecretKey], so a forged
// cookie never reaches the store. A store holds only hashes of the IDs, so nobody can log in with a copy of its data.
// [Config.SecretKeyFallbacks] lets you change the secret without logging anybody out.
//
// Session IDs, cookies, secret keys and values are in no error, event or log line. A Config, Manager or Session prints
// without its secrets.
//
// What remains for the application:
//
//   - Check the password or whatever identifies a user, then call Login. Call [Session.Elevate] when a user has
//     authenticated again or by a second factor, and [Session.RevokeOthers] after a change of password.
//   - Serve https, change nothing on a GET, and put an [http.CrossOriginProtection] around the Handler: SameSite=Lax
//     alone doesn't stop forged requests from sibling hosts.
//   - Whoever has a copy of a cookie can use the session, until the session ends or gets a new ID. A session in an
//     [EncryptedCookie] can't be ended on the server: its copies are valid until they expire.
//
// # Testing
//
// Package [github.com/hipflask/session/sessiontest] makes a Manager for a test, requests that come with a session, and
// a store that can be made to fail. Timeouts can be tested with [testing/synctest] and sessions in memory.
package session
