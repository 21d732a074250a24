// Package releases checks that session.JSON and flask's cookie are the same with every release of Go.
//
// encoding/json and compress/flate were rewritten in Go 1.27, and servers that share a store are not always built with
// the same release. The files in testdata hold what Go 1.26 encoded, decoded and refused; ./test runs these tests with
// the oldest and with the newest release. Run them by hand with
//
//	go test ./verify/releases
//	GOTOOLCHAIN=go1.27.4 go test ./verify/releases
//
// To look for differences that the records don't cover, compare what two releases make of generated texts:
//
//	go test ./verify/releases -run Generated -generated -texts 100000 >old
//	GOTOOLCHAIN=go1.27.4 go test ./verify/releases -run Generated -generated -texts 100000 >new
//	diff old new
//
// Three differences are known and left: a type's own methods (time.Time reads escapes since Go 1.27), an object with
// the name "null" decoded into a map with integer keys (an error before Go 1.27, the key 0 since), and invalid UTF-8 in
// a field with the tag option string.
package releases
