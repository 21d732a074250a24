package memcachedstore

import (
	"net"
	"time"

	"github.com/hipflask/session/store"
)

// Parse returns the addresses that a URL names.
func Parse(url string) (texts []string, err error) {
	list, err := parse(url)
	for _, a := range list {
		texts = append(texts, a.network+" "+a.text)
	}
	return texts, err
}

// Pick returns which of the servers keeps a key.
func Pick(url, key string) net.Addr {
	list, err := parse(url)
	if err != nil {
		panic(err)
	}
	a, _ := list.PickServer(key) // never fails
	return a
}

func Decode(value []byte) (store.Record, bool) { return decode(value) }

func Encode(rec store.Record) ([]byte, error) { return encode(&rec) }

// PutTimes changes the times of a value that can be decoded.
func PutTimes(value []byte, seen, expires time.Time) { putTimes(value, seen, expires) }
