package session_test

import (
	"context"
	"fmt"
	"strings"

	"github.com/hipflask/session"
)

// A page of devices lists the sessions of a user, and ends the one whose handle the user has chosen.
func ExampleManager_Sessions() {
	m := newExample(session.Config{})
	defer m.Close()
	ctx := context.Background()
	s := login(m, "ann")
	s.SetLabel("Firefox on Windows")
	if err := s.Save(ctx); err != nil {
		panic(err)
	}

	for info, err := range m.Sessions(ctx, "ann") {
		if err != nil {
			panic(err)
		}
		fmt.Println(info.Label)
		fmt.Println(m.Revoke(ctx, "ann", info.Handle))
	}
	fmt.Println(s.Reload(ctx))
	// Output:
	// Firefox on Windows
	// <nil>
	// session: the session has ended
}

// A handle is worth nothing to another user.
func ExampleManager_Revoke() {
	m := newExample(session.Config{})
	defer m.Close()
	ctx := context.Background()
	handle := login(m, "ann").Info().Handle
	fmt.Println(m.Revoke(ctx, "eve", handle))
	fmt.Println(m.Revoke(ctx, "ann", handle))
	fmt.Println(m.Revoke(ctx, "ann", handle))
	// Output:
	// session: the session has ended
	// <nil>
	// session: the session has ended
}

// "Log out everywhere", or the account was disabled.
func ExampleManager_RevokeAll() {
	m := newExample(session.Config{})
	defer m.Close()
	ctx := context.Background()
	login(m, "ann")
	login(m, "ann")
	login(m, "ben")
	fmt.Println(m.RevokeAll(ctx, "ann"))
	// Output: 2 <nil>
}

// After a change of password, all other sessions of the user end.
func ExampleSession_RevokeOthers() {
	m := newExample(session.Config{})
	defer m.Close()
	ctx := context.Background()
	laptop, phone := login(m, "ann"), login(m, "ann")

	fmt.Println(laptop.RevokeOthers(ctx))
	fmt.Println(laptop.Reload(ctx))
	fmt.Println(phone.Reload(ctx))
	// Output:
	// 1 <nil>
	// <nil>
	// session: the session has ended
}

// An administrator ends the sessions of everybody from one company.
func ExampleManager_RevokeFunc() {
	m := newExample(session.Config{})
	defer m.Close()
	ctx := context.Background()
	login(m, "ann@example.com")
	login(m, "ben@example.org")
	login(m, "cem@example.org")
	fmt.Println(m.RevokeFunc(ctx, func(i session.Info) bool { return strings.HasSuffix(i.Principal, "@example.org") }))
	// Output: 2 <nil>
}

// How many sessions are there, and how many users?
func ExampleManager_All() {
	m := newExample(session.Config{})
	defer m.Close()
	login(m, "ann")
	login(m, "ann")
	login(m, "ben")

	sessions, users := 0, map[string]bool{}
	for info, err := range m.All(context.Background()) {
		if err != nil {
			panic(err)
		}
		sessions++
		users[info.Principal] = true
	}
	fmt.Println(sessions, len(users))
	// Output: 3 2
}

// A login beyond MaxSessions ends the oldest session of the user.
func ExampleConfig_maxSessions() {
	m := newExample(session.Config{MaxSessions: 1})
	defer m.Close()
	ctx := context.Background()
	phone := login(m, "ann")
	laptop := login(m, "ann")
	fmt.Println(phone.Reload(ctx))
	fmt.Println(laptop.Reload(ctx))
	// Output:
	// session: the session has ended
	// <nil>
}

// To refuse the newest login instead, leave MaxSessions zero and count before Login. Two logins at the same time may
// both be let in, since each counts before the other is stored. A login over an own session counts that one as well.
func ExampleManager_Sessions_refuse() {
	m := newExample(session.Config{})
	defer m.Close()
	ctx := context.Background()
	const most = 1
	mayLogin := func(user string) (bool, error) {
		n := 0
		for _, err := range m.Sessions(ctx, user) {
			if err != nil {
				return false, err
			}
			n++
		}
		return n < most, nil
	}

	fmt.Println(mayLogin("ann"))
	login(m, "ann")
	fmt.Println(mayLogin("ann"))
	// Output:
	// true <nil>
	// false <nil>
}
