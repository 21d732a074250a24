package session_test

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/hipflask/session"
)

// Outside HTTP a program makes, saves and loads sessions itself. The client keeps the token.
func ExampleManager_Load() {
	m := newExample(session.Config{BearerToken: true})
	defer m.Close()
	ctx := context.Background()

	s, err := m.Load(ctx, "") // a new session
	if err != nil {
		panic(err)
	}
	s.Login("ann")
	if err := s.Save(ctx); err != nil {
		panic(err)
	}
	token := s.Token()

	again, err := m.Load(ctx, token)
	if err != nil {
		panic(err)
	}
	fmt.Println(again.Principal())
	_, err = m.Load(ctx, "forged")
	fmt.Println(err)
	// Output:
	// ann
	// session: the session has ended
}

// A connection that lives long reloads its session before it acts, and so notices a logout.
func ExampleSession_Reload() {
	m := newExample(session.Config{})
	defer m.Close()
	ctx := context.Background()
	s := login(m, "ann")

	socket, err := m.Load(ctx, s.Token()) // in the handler of a WebSocket
	if err != nil {
		panic(err)
	}
	fmt.Println(socket.Reload(ctx), socket.Principal())

	s.Logout() // by another request
	if err := s.Save(ctx); err != nil {
		panic(err)
	}
	fmt.Println(socket.Reload(ctx))
	// Output:
	// <nil> ann
	// session: the session has ended
}

// The cookie of a session that was made outside a Handler, such as for another framework's response.
func ExampleManager_Cookie() {
	m := newExample(session.Config{})
	defer m.Close()
	ctx := context.Background()
	s, err := m.Load(ctx, "")
	if err != nil {
		panic(err)
	}
	s.Login("ann")
	if err := s.Save(ctx); err != nil {
		panic(err)
	}
	if c := m.Cookie(s); c != nil {
		fmt.Println(c.Name, c.Value == s.Token()) // http.SetCookie(w, c)
	}
	// Output: session true
}

// A link that is valid for a day and for one purpose, without any storage.
func ExampleManager_Sign() {
	const purpose = "example.com/invitation"

	m := newExample(session.Config{})
	defer m.Close()
	message := fmt.Appendf(nil, "ben@example.org until %d", time.Now().Add(24*time.Hour).Unix())
	mac := m.Sign(purpose, message) // the link holds both, in base64.URLEncoding
	fmt.Println(m.Verify(purpose, message, mac))
	// Output: true
}

// Verify refuses a message that was changed, and a MAC for another purpose. Check the deadline afterwards.
func ExampleManager_Verify() {
	m := newExample(session.Config{})
	defer m.Close()
	mac := m.Sign("example.com/unsubscribe", []byte("ben@example.org"))
	fmt.Println(m.Verify("example.com/unsubscribe", []byte("ben@example.org"), mac))
	fmt.Println(m.Verify("example.com/unsubscribe", []byte("ann@example.org"), mac))
	fmt.Println(m.Verify("example.com/invitation", []byte("ben@example.org"), mac))
	// Output:
	// true
	// false
	// false
}

// A label, for a list of sessions, is cut to 256 bytes.
func ExampleSession_SetLabel() {
	m := newExample(session.Config{})
	defer m.Close()
	s := login(m, "ann")
	s.SetLabel("Firefox on Windows")
	fmt.Println(s.Info().Label)
	s.SetLabel(strings.Repeat("long ", 100))
	fmt.Println(len(s.Info().Label))
	// Output:
	// Firefox on Windows
	// 256
}
