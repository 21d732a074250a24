package redisstore_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/redis/rueidis"

	"github.com/hipflask/session/store/redisstore"
)

// Dial makes a client for other things than a Store: its URL has no options of one.
func TestDial(t *testing.T) {
	t.Parallel()
	client, err := redisstore.Dial(t.Context(), redis().URL)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	masters, err := redisstore.Masters(t.Context(), client)
	if err != nil || len(masters) != 1 {
		t.Errorf("Masters: got %d, %v; want 1", len(masters), err)
	}
	for _, parameter := range []string{"prefix=barley:", "replicas=1"} {
		if _, err := redisstore.Dial(t.Context(), redis().URL+"?"+parameter); err == nil ||
			strings.Contains(err.Error(), "barley") {
			t.Errorf("%s: got error %v, want one without the URL", parameter, err)
		}
	}
}

// Clean keeps what helps, and no argument of a command.
func TestClean(t *testing.T) {
	t.Parallel()
	client := raw(t, redis().Addr)
	err := client.Do(t.Context(), client.B().Arbitrary("GETX", "barley").Build()).Error()
	if err == nil || !strings.Contains(err.Error(), "barley") {
		t.Fatalf("got error %v, want the server's, which quotes", err)
	}
	if err = redisstore.Clean(err); !strings.Contains(err.Error(), "ERR") || strings.Contains(err.Error(), "barley") {
		t.Errorf("got error %v, want the code alone", err)
	}
	if err := redisstore.Clean(rueidis.ErrClosing); errors.Is(err, rueidis.ErrClosing) ||
		!strings.Contains(err.Error(), "closed") {
		t.Errorf("got error %v", err)
	}
}
