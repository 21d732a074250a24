package main

import (
	"context"
	"database/sql"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	_ "modernc.org/sqlite" // registers the driver "sqlite"

	"github.com/hipflask/session"
)

// entry is one line of the audit log.
type entry struct {
	Time      time.Time
	Event     string // a session.EventKind, with "acting " in front for acting sessions; "failed login"; "lost"
	Reason    string // a session.Reason
	Principal string // whose session it is, or for whom somebody acts
	By        string // who did it, if that is somebody else or may be: the administrator or the actor
	Handle    string
	Label     string
	Address   string
	UserAgent string
	More      int64 // rejected cookies left out since the last such entry; entries lost, for "lost"
}

const table = `
CREATE TABLE IF NOT EXISTS audit (
	time TEXT NOT NULL, event TEXT NOT NULL, reason TEXT NOT NULL, principal TEXT NOT NULL, actor TEXT NOT NULL,
	handle TEXT NOT NULL, label TEXT NOT NULL, address TEXT NOT NULL, user_agent TEXT NOT NULL, more INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS audit_principal ON audit (principal, time);`

// auditLog writes entries to a logger at once and to a table in the background, since OnEvent must return soon. While
// the table can't be written, entries wait in memory. What finds no room there is lost to the table, not to the logger:
// it is counted, and the table gets an entry with the number as soon as it can be written again.
type auditLog struct {
	logger *slog.Logger
	db     *sql.DB
	retry  time.Duration // between two attempts to write

	queue            chan entry
	lost             atomic.Int64 // since the last entry "lost"
	closing, stopped chan struct{}
	close            sync.Once

	mu       sync.Mutex // guards what follows
	window   time.Time  // begin of the minute in which rejected cookies are counted
	rejected int        // in this minute
	skipped  int64
}

const (
	maxRejected = 60 // entries for rejected cookies in a minute: anybody can send as many as they like
	maxText     = 256
)

// openAudit opens the table in a file of SQLite. Waiting is how many entries wait for it in memory.
func openAudit(ctx context.Context, file string, logger *slog.Logger, waiting int,
	retry time.Duration) (*auditLog, error) {
	db, err := sql.Open("sqlite", "file:"+file+"?_pragma=busy_timeout(1000)&_pragma=journal_mode(WAL)")
	if err != nil {
		return nil, err
	}
	if _, err := db.ExecContext(ctx, table); err != nil {
		db.Close()
		return nil, err
	}
	a := &auditLog{
		logger: logger, db: db, retry: retry,
		queue: make(chan entry, waiting), closing: make(chan struct{}), stopped: make(chan struct{}),
	}
	go a.run()
	return a, nil
}

// Close writes what waits, and closes the table. Call it after the Managers have been closed. What can't be written is
// counted as lost, in the logger.
func (a *auditLog) Close() error {
	err := error(nil)
	a.close.Do(func() {
		a.mu.Lock()
		skipped := a.skipped
		a.skipped = 0
		a.mu.Unlock()
		if skipped > 0 {
			a.record(context.Background(), entry{Event: string(session.EventRejected), More: skipped})
		}
		close(a.closing)
		<-a.stopped
		if n := a.lost.Load(); n > 0 {
			a.logger.Error("audit: the table lacks entries, which only this log has", "lost", n)
		}
		err = a.db.Close()
	})
	return err
}

// client is what the log says of a request. The Handler puts it into the context, where OnEvent finds it.
type client struct{ address, userAgent string }

type clientKey struct{}
type byKey struct{}

// Handler goes around Manager.Handler: OnEvent gets the context of the request as it comes there.
func (a *auditLog) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := client{address(r), bounded(r.UserAgent())}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), clientKey{}, c)))
	})
}

// address returns the address of the client. Behind a proxy that is the proxy's: return there what the proxy has put
// into a header of its own, and never the first address of X-Forwarded-For, which the client itself may have written.
func address(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return bounded(r.RemoteAddr)
	}
	return host
}

// bounded returns a text of a client as it may stand in a log.
func bounded(text string) string {
	if len(text) > maxText {
		text = text[:maxText]
	}
	return strings.ToValidUTF8(text, "\ufffd")
}

// by returns a context for Revoke, RevokeAll and RevokeFunc outside of requests, that says who ends the sessions.
func by(ctx context.Context, who string) context.Context { return context.WithValue(ctx, byKey{}, who) }

// who returns who did what an event reports. Within Manager.Handler the calls that revoke have the context of a
// request, and its session is that of whoever calls. The events of an acting session have a context in which only the
// actor's own session is found, since it is around the acting Manager's Handler. All other events have none: their
// principal did it.
func who(ctx context.Context) string {
	if name, ok := ctx.Value(byKey{}).(string); ok {
		return name
	}
	if s, ok := session.FromContext(ctx); ok {
		return s.Principal()
	}
	return ""
}

// onEvent returns a Config.OnEvent. Prefix goes before the events' names.
func (a *auditLog) onEvent(prefix string) func(context.Context, session.Event) {
	return func(ctx context.Context, e session.Event) {
		line := entry{
			Event: prefix + string(e.Kind), Reason: string(e.Reason),
			Principal: e.Principal, Handle: e.Handle, Label: e.Label,
		}
		switch e.Kind {
		case session.EventLogin, session.EventLogout, session.EventRenewed, session.EventElevated, session.EventRevoked:
			line.By = who(ctx)
		case session.EventEvicted:
		case session.EventRejected:
			ok := false
			if line.More, ok = a.admit(time.Now()); !ok {
				return
			}
		default:
			return // metrics count the rest: see docs/operate.md
		}
		a.record(ctx, line)
	}
}

// admit reports whether a rejected cookie gets an entry, and how many got none since the last one that did.
func (a *auditLog) admit(now time.Time) (skipped int64, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if now.Sub(a.window) >= time.Minute {
		a.window, a.rejected = now, 0
	}
	if a.rejected >= maxRejected {
		a.skipped++
		return 0, false
	}
	a.rejected++
	skipped, a.skipped = a.skipped, 0
	return skipped, true
}

// failedLogin is for the application, since the session knows nothing of a wrong password. Name is "" if there is no
// such user: people enter their password there by mistake.
func (a *auditLog) failedLogin(ctx context.Context, name string) {
	a.record(ctx, entry{Event: "failed login", Principal: name})
}

func (a *auditLog) record(ctx context.Context, e entry) {
	e.Time = time.Now().UTC()
	c, _ := ctx.Value(clientKey{}).(client)
	e.Address, e.UserAgent = c.address, c.userAgent
	a.logger.LogAttrs(ctx, slog.LevelInfo, "audit", slog.String("event", e.Event), slog.String("reason", e.Reason),
		slog.String("principal", e.Principal), slog.String("by", e.By), slog.String("handle", e.Handle),
		slog.String("label", e.Label), slog.String("address", e.Address), slog.String("user_agent", e.UserAgent),
		slog.Int64("more", e.More))
	select {
	case <-a.closing:
		a.lost.Add(1)
		return
	default:
	}
	select {
	case a.queue <- e:
	default:
		a.lost.Add(1)
	}
}

// run writes the entries one after the other.
func (a *auditLog) run() {
	defer close(a.stopped)
	for {
		select {
		case e := <-a.queue:
			if !a.keep(e) {
				a.lost.Add(1 + int64(len(a.queue))) // it is closing, and the table can't be written
				return
			}
		case <-a.closing:
			for len(a.queue) > 0 {
				if e := <-a.queue; a.write(e) != nil {
					a.lost.Add(1 + int64(len(a.queue)))
					return
				}
			}
			a.tellLost()
			return
		}
	}
}

// keep writes an entry, as soon as the table can be written. It gives up, and returns false, if the log is closed
// meanwhile.
func (a *auditLog) keep(e entry) bool {
	err := a.write(e)
	if err == nil {
		a.tellLost()
		return true
	}
	a.logger.Error("audit: the table can't be written; entries wait", "error", err)
	for {
		select {
		case <-a.closing:
			return a.write(e) == nil
		case <-time.After(a.retry):
		}
		if a.write(e) == nil {
			a.logger.Warn("audit: the table can be written again", "lost", a.lost.Load())
			a.tellLost()
			return true
		}
	}
}

// tellLost writes to the table how many entries it lacks, if it lacks some.
func (a *auditLog) tellLost() {
	n := a.lost.Swap(0)
	if n > 0 && a.write(entry{Time: time.Now().UTC(), Event: "lost", More: n}) != nil {
		a.lost.Add(n)
	}
}

// stamp sorts as text, and has one length.
const stamp = "2006-01-02T15:04:05.000Z"

func (a *auditLog) write(e entry) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_, err := a.db.ExecContext(ctx, `INSERT INTO audit
		(time, event, reason, principal, actor, handle, label, address, user_agent, more)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		e.Time.Format(stamp), e.Event, e.Reason, e.Principal, e.By, e.Handle, e.Label, e.Address, e.UserAgent, e.More)
	return err
}

// entries returns the last entries about a principal, or what that one did, the latest first; "" for all.
func (a *auditLog) entries(ctx context.Context, principal string, limit int) (list []entry, err error) {
	rows, err := a.db.QueryContext(ctx, `SELECT time, event, reason, principal, actor, handle, label, address,
		user_agent, more FROM audit WHERE ?1 = '' OR principal = ?1 OR actor = ?1
		ORDER BY time DESC, rowid DESC LIMIT ?2`, principal, limit)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var e entry
		var at string
		err := rows.Scan(&at, &e.Event, &e.Reason, &e.Principal, &e.By, &e.Handle, &e.Label, &e.Address,
			&e.UserAgent, &e.More)
		if err != nil {
			return nil, err
		}
		if e.Time, err = time.Parse(stamp, at); err != nil {
			return nil, err
		}
		list = append(list, e)
	}
	return list, rows.Err()
}

// known reports whether a principal has logged in with a device of that label in the last 90 days, or never at all: the
// first device is not a new one.
func (a *auditLog) known(ctx context.Context, principal, label string) (ok bool, err error) {
	since := time.Now().UTC().AddDate(0, 0, -90).Format(stamp)
	err = a.db.QueryRowContext(ctx, `SELECT count(*) = 0 OR coalesce(max(label = ?2), 0) FROM audit
		WHERE principal = ?1 AND event = 'login' AND time > ?3`, principal, label, since).Scan(&ok)
	return ok, err
}
