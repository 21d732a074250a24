package sqlitestore

import "testing"

// Levels returns the levels of synchronous that the connections of s have.
func Levels(t *testing.T, s *Store) (read, write int) {
	t.Helper()
	c := s.client
	if err := c.read.QueryRow("PRAGMA synchronous").Scan(&read); err != nil {
		t.Fatal(err)
	}
	if err := c.write.QueryRow("PRAGMA synchronous").Scan(&write); err != nil {
		t.Fatal(err)
	}
	return read, write
}
