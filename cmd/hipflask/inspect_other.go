//go:build !linux

package main

// inspectFile looks at nothing where it would not know what it sees.
func inspectFile(string) []finding { return nil }
