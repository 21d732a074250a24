package main

import (
	"bytes"
	"compress/zlib"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"io"
	"strings"
	"time"
)

// maxPeek bounds what a compressed cookie may become.
const maxPeek = 1 << 20

// peek reads a flask cookie, PAYLOAD.TIMESTAMP.SIGNATURE, without looking at its signature: to show it, never to trust
// it.
func peek(value string) (payload []byte, at time.Time, ok bool) {
	text, compressed := strings.CutPrefix(value, ".")
	parts := strings.Split(text, ".")
	if len(parts) != 3 {
		return nil, at, false
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[0])
	if err != nil {
		return nil, at, false
	}
	stamp, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil || len(stamp) > 5 { // until the year 36812
		return nil, at, false
	}
	if compressed {
		r, err := zlib.NewReader(bytes.NewReader(payload))
		if err != nil {
			return nil, at, false
		}
		payload, err = io.ReadAll(io.LimitReader(r, maxPeek+1))
		if err != nil || len(payload) > maxPeek {
			return nil, at, false
		}
	}
	if !json.Valid(payload) { // NaN, which Python writes, is not
		payload, _ = json.Marshal(string(payload))
	}
	var b [8]byte
	copy(b[8-len(stamp):], stamp)
	return payload, time.Unix(int64(binary.BigEndian.Uint64(b[:])), 0), true
}
