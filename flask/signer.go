package flask

import (
	"bytes"
	"compress/zlib"
	"crypto/fips140"
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha512"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/hipflask/session"
)

// Derivation says how a signer's key is made of the secret and the salt (itsdangerous, Signer.derive_key).
type Derivation uint8

const (
	DeriveHMAC Derivation = iota // "hmac", the HMAC of the salt under the secret: Flask's session cookie
	// "django-concat", the hash of salt, "signer" and secret: itsdangerous's default, Flask-WTF
	DeriveConcat
	DerivePlain // "concat", the hash of salt and secret
	DeriveNone  // "none", the secret itself
)

// Signer makes and checks what itsdangerous's URLSafeTimedSerializer does: PAYLOAD.TIMESTAMP.SIGNATURE. It is safe for
// concurrent use.
type Signer struct {
	macs        []*sync.Pool // the first signs
	maxInflated int
}

// defaultMaxInflated bounds a decompressed payload. A cookie of 4096 bytes could become 4 MB.
const defaultMaxInflated = 1 << 20

// maxTimestamp is the last second of the year 9999, beyond which Python fails.
const maxTimestamp = 253402300799

var b64 = base64.RawURLEncoding.Strict()

// NewSigner returns a signer for a salt. The first key signs, all verify. digest is nil for SHA-1, as Flask and its
// extensions have it; under GODEBUG=fips140=only that is an error. maxInflated bounds a payload in bytes; zero: 1 MiB.
func NewSigner(salt string, keys []string, how Derivation, digest func() hash.Hash, maxInflated int) (*Signer, error) {
	if digest == nil {
		if fips140.Enforced() {
			return nil, errors.New("flask: Flask signs with HMAC-SHA1, which GODEBUG=fips140=only forbids; " +
				"set a SHA-2 digest on both sides")
		}
		digest = sha1.New
	}
	if maxInflated <= 0 {
		maxInflated = defaultMaxInflated
	}
	s := &Signer{maxInflated: maxInflated}
	for i, k := range keys {
		if k == "" {
			return nil, emptyKey(i)
		}
		var key []byte
		var h hash.Hash
		switch how {
		case DeriveHMAC:
			h = hmac.New(digest, []byte(k))
			io.WriteString(h, salt)
		case DeriveConcat:
			h = digest()
			io.WriteString(h, salt+"signer"+k)
		case DerivePlain:
			h = digest()
			io.WriteString(h, salt+k)
		case DeriveNone:
			key = []byte(k)
		default:
			return nil,
				fmt.Errorf("flask: Derivation %d is none of DeriveHMAC, DeriveConcat, DerivePlain and DeriveNone", how)
		}
		if h != nil {
			key = h.Sum(nil)
		}
		s.macs = append(s.macs, &sync.Pool{New: func() any { return &macer{Hash: hmac.New(digest, key)} }})
	}
	return s, nil
}

func emptyKey(i int) error {
	name := "SecretKey"
	if i > 0 {
		name = fmt.Sprintf("SecretKeyFallbacks[%d]", i-1)
	}
	return fmt.Errorf("flask: %s is empty; it is the Flask application's SECRET_KEY", name)
}

// macer is a MAC's state and room for its message and sum, used again for the next one.
type macer struct {
	hash.Hash
	message, sum []byte
}

// of returns the MAC of message, which is good until the next one.
func (m *macer) of(message []byte) []byte {
	m.Reset()
	m.Write(message)
	m.sum = m.Sum(m.sum[:0])
	return m.sum
}

// Sign returns payload with the time, in whole seconds, and the signature of both.
func (s *Signer) Sign(payload []byte, at time.Time) string {
	m := s.macs[0].Get().(*macer)
	defer s.macs[0].Put(m)
	m.message = appendPacked(m.message[:0], payload)
	return m.signed(at)
}

// resign returns a signed value with another time.
func (s *Signer) resign(value string, at time.Time) (string, error) {
	for range 2 { // the signature and the time; a compressed payload begins with a point
		dot := strings.LastIndexByte(value, '.')
		if dot < 0 {
			return "", session.ReasonMalformed
		}
		value = value[:dot]
	}
	m := s.macs[0].Get().(*macer)
	defer s.macs[0].Put(m)
	m.message = append(m.message[:0], value...)
	return m.signed(at), nil
}

// signed returns the packed payload in message with a time and the signature of both.
func (m *macer) signed(at time.Time) string {
	var stamp [8]byte
	binary.BigEndian.PutUint64(stamp[:], uint64(max(at.Unix(), 0)))
	text := append(m.message, '.')
	text = append(b64.AppendEncode(text, bytes.TrimLeft(stamp[:], "\x00")), '.')
	m.message = b64.AppendEncode(text, m.of(text[:len(text)-1]))
	return string(m.message)
}

// Unsign returns the payload and the time that it was signed at. How old it may be is the caller's to judge. The error
// is a session.Reason: malformed, signature, or undecodable.
func (s *Signer) Unsign(value string) (payload []byte, at time.Time, err error) {
	dot := strings.LastIndexByte(value, '.')
	if dot < 0 {
		return nil, at, session.ReasonMalformed
	}
	signed := value[:dot]
	var room [sha512.Size]byte // of the largest digest that is likely
	sum, err := decode(room[:0], value[dot+1:])
	if err != nil {
		return nil, at, session.ReasonMalformed
	}
	if !s.verify(signed, sum) {
		return nil, at, session.ReasonSignature
	}
	dot = strings.LastIndexByte(signed, '.')
	if dot < 0 {
		return nil, at, session.ReasonUndecodable
	}
	stamp, err := decode(room[:0], signed[dot+1:])
	if err != nil || len(stamp) > 8 {
		return nil, at, session.ReasonUndecodable
	}
	var b [8]byte
	copy(b[8-len(stamp):], stamp)
	seconds := binary.BigEndian.Uint64(b[:])
	if seconds > maxTimestamp {
		return nil, at, session.ReasonUndecodable
	}
	if payload, err = s.unpack(signed[:dot]); err != nil {
		return nil, at, session.ReasonUndecodable
	}
	return payload, time.Unix(int64(seconds), 0), nil
}

func (s *Signer) verify(signed string, sum []byte) (ok bool) {
	for _, macs := range s.macs {
		m := macs.Get().(*macer)
		m.message = append(m.message[:0], signed...)
		ok = hmac.Equal(m.of(m.message), sum) || ok
		macs.Put(m)
	}
	return ok
}

// appendPacked encodes a payload, compressed if that saves two bytes or more (itsdangerous, url_safe.py).
func appendPacked(b, payload []byte) []byte {
	writers := &deflaters
	if len(payload) <= maxHasty {
		writers = &hastyDeflaters
	}
	w := writers.Get().(*deflater)
	defer func() { writers.Put(w) }()
	w.deflate(payload)
	if w.buf.Len() > maxEasy {
		writers.Put(w)
		writers = &bestDeflaters
		w = writers.Get().(*deflater)
		w.deflate(payload)
	}
	if w.buf.Len() < len(payload)-1 {
		return b64.AppendEncode(append(b, '.'), w.buf.Bytes())
	}
	return b64.AppendEncode(b, payload)
}

type deflater struct {
	buf  bytes.Buffer
	zlib *zlib.Writer
}

func (w *deflater) deflate(payload []byte) {
	w.buf.Reset()
	w.zlib.Reset(&w.buf)
	w.zlib.Write(payload) // into memory
	w.zlib.Close()
}

// maxHasty bounds the payloads that are compressed in the fastest way. Any other level of compress/flate begins with
// clearing 640 KB, which takes as long as the rest and throws out what the processor's caches held. Sessions of this
// size become 2 % longer by it, and one of less than 128 bytes that repeats itself up to 16 bytes; what comes near to
// MAX_COOKIE_SIZE is larger.
const maxHasty = 1 << 10

// maxEasy is the compressed size above which the best level is tried, since the cookie may not fit otherwise. A session
// that fits must fit with every release of Go: the default level of Go 1.27 makes sessions of 8 KB up to 1.5 % longer
// than that of Go 1.26, the best level up to 0.2 %.
const maxEasy = 2 << 10

var (
	deflaters      = sync.Pool{New: newDeflater(zlib.DefaultCompression)}
	bestDeflaters  = sync.Pool{New: newDeflater(zlib.BestCompression)}
	hastyDeflaters = sync.Pool{New: newDeflater(zlib.BestSpeed)}
)

func newDeflater(level int) func() any {
	return func() any {
		w, _ := zlib.NewWriterLevel(io.Discard, level) // fails for other levels only
		return &deflater{zlib: w}
	}
}

var errPayload = errors.New("flask: the payload can't be decoded")

func (s *Signer) unpack(text string) ([]byte, error) {
	text, compressed := strings.CutPrefix(text, ".")
	if !compressed {
		return decode(nil, text)
	}
	z := inflaters.Get().(*inflater)
	defer inflaters.Put(z)
	payload, err := decode(z.src[:0], text)
	if err != nil {
		return nil, err
	}
	plain, ok := z.inflate(payload, s.maxInflated)
	if !ok {
		return nil, errPayload
	}
	return append([]byte{}, plain...), nil
}

var inflaters = sync.Pool{New: func() any { return &inflater{} }}

// decode appends what text is the base64 of. The decoder itself skips line ends.
func decode(b []byte, text string) ([]byte, error) {
	if strings.IndexByte(text, '\r') >= 0 || strings.IndexByte(text, '\n') >= 0 {
		return nil, errPayload
	}
	return b64.AppendDecode(b, []byte(text))
}
