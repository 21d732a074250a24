// Package browser tests the login example in a real browser, Debian's Chromium. It holds tests only.
package browser
