package session

import (
	"errors"
	"fmt"

	"github.com/hipflask/session/internal/protocol"
)

// The errors that callers distinguish with [errors.Is]. Neither their texts nor those of errors that wrap them contain
// an ID, a cookie, a secret key or a value. The error of a store is part of the text, but can't be found with
// [errors.As], because its type is not part of this package's contract.
var (
	// ErrEnded says that the session was logged out, revoked, replaced by a login, or has expired. Its unsaved changes
	// are dropped; the response is sent as it is.
	ErrEnded = protocol.ErrEnded

	// ErrUnavailable says that the store could not be reached within [Config.StoreTimeout], and that nothing was
	// changed. Try again. A request fails with 503.
	ErrUnavailable = protocol.ErrUnavailable

	// ErrUncertain says that the store failed during a change, which may have been applied or not. A request fails with
	// 503.
	ErrUncertain = protocol.ErrUncertain

	// ErrTooLate says that changes needed a new cookie after the response's header had been sent. The changes are
	// dropped, and the response is sent as it is. Call Login, Renew and SetPersistent, and make the first change of a
	// new session, before the first byte of the response. With a [Config.CookieCodec], Logout and every change need a
	// cookie too. A handler that writes to another writer than the one that [Manager.Handler] passes, such as a
	// framework's own, is too late in any case.
	ErrTooLate = errors.New("session: too late for a new cookie: the response's header has been sent")

	// ErrCrossSite says that another site caused the request, and that the browser may have withheld the session's
	// cookie ([Cookie.SameSite]). The cookie of a new session could then replace a login. So the request's changes are
	// stored only if it calls Login. Otherwise they are dropped, and the response is sent as it is. A payment provider
	// that sends the client back by POST causes such a request: redirect to a page that stores the result.
	ErrCrossSite = errors.New("session: the request comes from another site, without the session's cookie: " +
		"only a Login is stored")

	// ErrTooLarge says that the encoded session has more bytes than [Config.MaxBytes], its public attributes more than
	// [store.MaxPublic], or its cookie more than 4096 with its name. Nothing was stored. A request fails with 500.
	ErrTooLarge = protocol.ErrTooLarge
)

var errBehind = fmt.Errorf("%w by another writer than the Handler's: an adapter has to pass the http.ResponseWriter "+
	"that it gets from the Handler on to the framework", ErrTooLate)

// replaces reports whether the Handler replaces the response because of err. After ErrEnded, ErrTooLate and
// ErrCrossSite the response stands: the changes are dropped, and Err and an event say so.
func replaces(err error) bool {
	return err != nil && !errors.Is(err, ErrEnded) && !errors.Is(err, ErrTooLate) && !errors.Is(err, ErrCrossSite)
}
