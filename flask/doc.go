// Package flask reads and writes Flask's own formats, so that a Flask application and a Go application share one login:
// the signed session cookie of Flask 3.1 (itsdangerous 2.2), its tagged JSON, and what Flask-Login and Flask-WTF keep
// in it.
//
//	sessions, err := session.New(session.Config{
//		SecretKey:   os.Getenv("SECRET_KEY"), // the Flask application's
//		CookieCodec: flask.Cookie,
//		Cookie:      session.Cookie{Name: "session"},
//	})
//
// Applications whose sessions Flask-Session keeps on the server are shared through their store: see [SID], [Msgpack]
// and [Pickle], and the packages below this one: flaskredis, flaskmemcached, flasksql and flaskfiles.
//
// # What such a cookie can't promise
//
// The session is in the cookie, signed but readable by whoever has it. There is no server to merge overlapping requests
// on: the last response wins. A logout makes the browser forget the cookie, but a copy of it stays good until it is
// Lifetime old. There is no Take, no list of sessions and no Revoke.
//
// # Stricter than Flask
//
// Python's decoders take signatures with padding, with characters outside the alphabet, and in four spellings of the
// last character; text after the compressed stream; dates in any form. Here the one spelling that Flask writes counts,
// and an unreadable cookie, which Flask answers with 500 until it is gone, is an empty session and an event.
// Decompression is bounded. A value that Go can't hold, such as half a surrogate pair or a date before the year 100,
// counts as absent, and is kept as it is when other values change.
package flask
