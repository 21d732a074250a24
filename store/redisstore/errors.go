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

// hints say what helps against an error of the server, by its code, the first word. The rest of its text is not shown:
// it can hold arguments of the command.
var hints = map[string]string{
	"BUSY":        "a script has been running for too long on the server",
	"CLUSTERDOWN": "the cluster has no master for some of its slots",
	"LOADING":     "the server is loading its data",
	"MASTERDOWN":  "the server is a replica that has lost its master",
	"MISCONF":     "the server can't write to its disk and refuses changes: see its log",
	"MOVED":       "the server is part of a cluster: add ?cluster to the URL",
	"NOAUTH":      "the server wants a password: put it into the URL",
	"NOPERM":      "the user lacks a permission: docs/redis.md has the rules that it needs",
	"NOREPLICAS":  "too few replicas are connected to the server (min-replicas-to-write)",
	"OOM":         "the server has reached its maxmemory: raise it",
	"READONLY":    "the server is a replica: connect to the master",
	"TRYAGAIN":    "the slot is just being moved to another node",
	"WRONGPASS":   "the user name or the password is wrong",
}

// failed turns an error of rueidis into one of ours, without what it may tell about keys.
func failed(op string, err error) error {
	if absent(err) {
		return store.ErrNotFound
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("redisstore: %s: %w", op, err)
	}
	if errors.Is(err, rueidis.ErrClosing) {
		return fmt.Errorf("redisstore: %s: the client is closed, or can't connect", op)
	}
	if code := codeOf(err); code != "" {
		hint := hints[code]
		if hint == "" {
			hint = "see the server's log"
		}
		return fmt.Errorf("redisstore: %s: the server answers %s: %s", op, code, hint)
	}
	// An error of package net tells addresses; others that come here are io.EOF, TLS's and our own.
	var network *net.OpError
	if errors.As(err, &network) {
		err = network
	}
	return fmt.Errorf("redisstore: %s: %w", op, err)
}

// absent says that a key has no value, or one of a type that is not ours: no record in either case.
func absent(err error) bool { return rueidis.IsRedisNil(err) || codeOf(err) == "WRONGTYPE" }

// codeOf returns the code of an error that the server answered, "" of any other error. What goes wrong with a command in
// a script comes without a code (a missing permission), or, before Redis 7, within the text of an error with the code ERR.
func codeOf(err error) string {
	answered, ok := rueidis.IsRedisErr(err)
	if !ok || answered.IsNil() {
		return ""
	}
	text := answered.Error()
	for word := range strings.FieldsSeq(text) {
		code := strings.Trim(word, "-:")
		if _, known := hints[code]; known || code == "WRONGTYPE" {
			return code
		}
	}
	if strings.Contains(text, "user executing the script") || strings.Contains(text, "ACL failure in script") {
		return "NOPERM"
	}
	return "ERR"
}
