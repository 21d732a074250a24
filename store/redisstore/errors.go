package redisstore

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/redis/rueidis"

	"github.com/hipflask/session/store"
)

var errUnexpected = errors.New("unexpected answer")

// hints say what helps against an error of the server, by its first word. The rest of its text is not shown: it can
// hold arguments of the command.
var hints = map[string]string{
	"CLUSTERDOWN": "the cluster has no master for some slots",
	"LOADING":     "the server is loading its data",
	"MASTERDOWN":  "the server is a replica that lost its master",
	"MISCONF":     "the server can't write to its disk and refuses changes: see its log",
	"NOAUTH":      "the server wants a password: give it in the URL",
	"NOPERM":      "the ACL lacks a permission: see the package documentation for the rules that the user needs",
	"NOREPLICAS":  "too few replicas are connected (min-replicas-to-write)",
	"OOM":         "the server has reached maxmemory: raise it",
	"READONLY":    "the server is a replica: connect to the master",
	"TRYAGAIN":    "the slot is just being moved",
	"UNKILLABLE":  "the server is busy with a script",
	"BUSY":        "the server is busy with a script",
	"WRONGPASS":   "wrong user name or password",
}

// failed turns an error of rueidis into one of ours.
func (s *Store) failed(op string, err error) error {
	switch {
	case rueidis.IsRedisNil(err):
		return store.ErrNotFound
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("redisstore: %s: %w", op, err)
	}
	if code, hint := explain(err); code == "WRONGTYPE" {
		return store.ErrNotFound // something else took the name: no record of ours
	} else if code != "" {
		return fmt.Errorf("redisstore: %s: the server answers %s%s", op, code, hint)
	}
	return fmt.Errorf("redisstore: %s: %w", op, bare(err))
}

// explain returns the first word of an error that the server answered, and what helps; "" if it is another error.
func explain(err error) (code, hint string) {
	answered, ok := rueidis.IsRedisErr(err)
	if !ok {
		return "", ""
	}
	text := answered.Error()
	code, _, _ = strings.Cut(text, " ")
	if hint == "" && strings.Contains(text, "ACL failure") {
		code = "NOPERM" // of a command in a script: ERR before Redis 7
	}
	if hint = hints[code]; hint != "" {
		hint = ": " + hint
	}
	return code, hint
}

// bare leaves of an error what can't hold a key or a password: what package net says, and the sentinels of rueidis.
func bare(err error) error {
	var network net.Error
	switch {
	case errors.Is(err, rueidis.ErrClosing):
		return errors.New("the client is closed, or can't connect")
	case errors.As(err, &network):
		return network
	}
	return err
}
