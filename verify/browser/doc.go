// Package browser tests the login example, and what browsers do with our cookies, in real browsers: Debian's Chromium,
// by its DevTools protocol, and Debian's Firefox, by WebDriver BiDi. It holds tests only.
package browser
