// Package peers has the session libraries for Go side by side behind one small interface, each configured as its own
// documentation recommends, with the same settings: an idle timeout of twelve hours, cookies that work over plain http,
// a signed cookie where the library has one.
//
// The handlers that are run are the same for all: they get an [Exchange], which calls what a handler of that library
// would call. What an adapter adds costs a few nanoseconds, and the same for each.
package peers

import (
	"errors"
	"runtime/debug"
	"time"
)

// Settings that all libraries get.
const (
	idleTimeout = 12 * time.Hour
	lifetime    = 24 * time.Hour
)

// Library is a library in one of its configurations.
type Library struct {
	Name   string // as the tables show it
	Module string // the path whose version counts
	Keeps  Medium
	// Open starts it. What it stores as files goes under dir.
	Open func(dir string) (App, error)
}

// Medium is where a session is kept.
type Medium string

// The media.
const (
	Memory Medium = "memory"
	Files  Medium = "files"
	Cookie Medium = "cookie"
	Redis  Medium = "Redis"
)

// Version returns the version of the library's module that this program was built with, "" for this
// one.
func (l Library) Version() string {
	if info, ok := debug.ReadBuildInfo(); ok && l.Module != Ours {
		for _, m := range info.Deps {
			if m.Path == l.Module {
				return m.Version
			}
		}
	}
	return ""
}

// App is a started library.
type App interface {
	// Serve returns a server that answers every request by fn.
	Serve(fn Handler) Server
	// SetOutage makes every access to the store fail from now on, or succeed again. False: there is nothing that
	// could fail, or no way to make it.
	SetOutage(on bool) bool
	Close() error
}

// Handler is what an application does in a request. An Exchange must not be used after it.
type Handler func(x Exchange)

// Exchange is a request with its session.
type Exchange interface {
	// Text and Count return a value of the session, or the zero value.
	Text(key string) string
	Count(key string) int
	SetText(key, value string)
	SetCount(key string, n int)
	// Login makes the session user's, under a new ID where the library can give it one.
	Login(user string)
	// Renew gives the session a new ID, where the library can.
	Renew()
	// User returns who is logged in.
	User() string
	Logout()
	// Save is what a handler calls before it answers; it does nothing where a middleware saves.
	Save()
	// Reply answers with a body of two bytes.
	Reply()
}

// Increment adds one to a number of the session, in the way that the library has for that: most read it and set it.
func Increment(x Exchange, key string) {
	if x, ok := x.(interface{ Increment(key string) }); ok {
		x.Increment(key)
		return
	}
	x.SetCount(key, x.Count(key)+1)
}

// Server answers requests in this process, without a network.
type Server interface {
	// Prepare makes a request that can be sent again and again, but not by several goroutines at once.
	Prepare() Request
}

// Request is a request that can be sent.
type Request interface {
	// Send sends it with this Cookie header, "" for none, and returns the answer, which is valid until the next Send.
	Send(cookie string) Answer
}

// Answer is what a client sees.
type Answer struct {
	Status     int
	SetCookies []string // the header's values
}

var reply = []byte("ok")

// userKey is where libraries that know no principal keep the user's name.
const userKey = "user"

var errOutage = errors.New("the store can't be reached")

// All returns every library in every configuration that needs no server.
func All() []Library {
	return []Library{
		hipflaskMemory, hipflaskTraced, hipflaskFiles, hipflaskEncrypted, hipflaskFlask,
		scsMemory,
		gorillaSigned, gorillaEncrypted, gorillaFiles,
		ginSigned, ginMemory,
		echoSigned, echoFiles,
		fiberMemory,
	}
}

// Named returns the library of All with that name; it panics if there is none.
func Named(name string) Library {
	for _, l := range All() {
		if l.Name == name {
			return l
		}
	}
	panic("peers: no library " + name)
}
