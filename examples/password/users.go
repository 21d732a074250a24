package main

import (
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"sync"
)

var errPassword = errors.New("the old password is wrong, or the new one has less than 8 characters")

// users stands for a table of users.
type users struct {
	iterations int // of PBKDF2; OWASP's Password Storage Cheat Sheet asks for 600,000 with SHA-256

	mu     sync.Mutex
	byName map[string]hash
}

type hash struct{ salt, sum []byte }

func (u *users) hash(password string, salt []byte) (hash, error) {
	sum, err := pbkdf2.Key(sha256.New, password, salt, u.iterations, sha256.Size)
	return hash{salt, sum}, err
}

func (u *users) set(name, password string) error {
	if len(password) < 8 {
		return errPassword
	}
	salt := make([]byte, 16)
	rand.Read(salt)
	h, err := u.hash(password, salt)
	if err != nil {
		return err
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.byName == nil {
		u.byName = map[string]hash{}
	}
	u.byName[name] = h
	return nil
}

// check takes the same time for a user who does not exist.
func (u *users) check(name, password string) error {
	u.mu.Lock()
	want := u.byName[name]
	u.mu.Unlock()
	got, err := u.hash(password, want.salt)
	if err != nil {
		return err
	}
	if subtle.ConstantTimeCompare(got.sum, want.sum) != 1 {
		return errPassword
	}
	return nil
}
