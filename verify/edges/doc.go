// Package edges tests sessions together with other people's routers, middleware and WebSocket libraries, over HTTP/1.1
// and HTTP/2. It holds tests only; docs/middleware.md says what they show.
package edges
