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

// failed returns an error of rueidis as one of this package.
func failed(op string, err error) error {
	if absent(err) {
		return store.ErrNotFound
	}
	return fmt.Errorf("redisstore: %s: %w", op, Clean(err))
}

// Clean returns an error that describes err, an error of rueidis, without what its text may contain of keys and values.
// Of an error of the server it keeps the code, with a hint at what helps; of others the errors of contexts and of
// package net. It is for packages that store something beside sessions with the same client.
func Clean(err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	if errors.Is(err, rueidis.ErrClosing) {
		return errors.New("the client is closed, or can't connect")
	}
	if errors.Is(err, rueidis.ErrNoCache) {
		return errors.New("the server has no CLIENT TRACKING, or the user lacks the permission for it: " +
			"leave MaxStale zero, or see docs/redis.md")
	}
	if code := codeOf(err); code != "" {
		hint := hints[code]
		if hint == "" {
			hint = "see the server's log"
		}
		return fmt.Errorf("the server answers %s: %s", code, hint)
	}
	// An error of package net contains addresses; others that come here are io.EOF, those of TLS and our own.
	var network *net.OpError
	if errors.As(err, &network) {
		return network
	}
	return err
}

// absent says that a key has no value, or one of a type that is not ours: no record in either case.
func absent(err error) bool { return rueidis.IsRedisNil(err) || codeOf(err) == "WRONGTYPE" }

// codeOf returns the code of an error that the server answered, "" of any other error. What goes wrong with a command
// in a script comes without a code (a missing permission), or, before Redis 7, within the text of an error with the
// code ERR.
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
