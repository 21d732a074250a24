package dbsc

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"

	"github.com/go-jose/go-jose/v4"
)

// maxProof bounds the bytes of a proof. One with an RSA key of 4096 bits has 2 KiB.
const maxProof = 4096

var errProof = errors.New("dbsc: no valid proof")

// proof is a DBSC proof: a JWT of which nothing is known yet but its form (draft, section "DBSC Proof JWT Syntax").
type proof struct {
	signed    *jose.JSONWebSignature
	algorithm jose.SignatureAlgorithm
	challenge string // jti: what the browser was asked to sign
}

// parseProof reads the header Secure-Session-Response. It verifies no signature.
func parseProof(header string) (proof, error) {
	text := unquote(header)
	if len(text) > maxProof {
		return proof{}, errProof
	}
	signed, err := jose.ParseSignedCompact(text, []jose.SignatureAlgorithm{jose.ES256, jose.RS256})
	if err != nil || len(signed.Signatures) != 1 {
		return proof{}, errProof
	}
	head := signed.Signatures[0].Protected
	if head.ExtraHeaders[jose.HeaderType] != "dbsc+jwt" {
		return proof{}, errProof
	}
	var claims struct {
		Challenge string `json:"jti"`
	}
	if err := json.Unmarshal(signed.UnsafePayloadWithoutVerification(), &claims); err != nil || claims.Challenge == "" {
		return proof{}, errProof
	}
	return proof{signed, jose.SignatureAlgorithm(head.Algorithm), claims.Challenge}, nil
}

// newKey returns the key that a registration's proof brings and is signed with, as an Attribute keeps it.
func (p proof) newKey() (string, error) {
	jwk := p.signed.Signatures[0].Protected.JSONWebKey
	if jwk == nil || !allowed(jwk.Key, p.algorithm) {
		return "", errProof
	}
	der, err := x509.MarshalPKIXPublicKey(jwk.Key)
	if err != nil {
		return "", errProof
	}
	if _, err := p.signed.Verify(jwk.Key); err != nil {
		return "", errProof
	}
	return string(p.algorithm) + " " + base64.RawURLEncoding.EncodeToString(der), nil
}

// verify reports whether the proof is signed with a key of newKey. A key that the proof itself brings doesn't count.
func (p proof) verify(known string) bool {
	algorithm, text, _ := strings.Cut(known, " ")
	der, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || jose.SignatureAlgorithm(algorithm) != p.algorithm {
		return false
	}
	key, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return false
	}
	_, err = p.signed.Verify(key)
	return err == nil
}

// allowed reports whether a key is one that the draft's algorithms take. The size of an RSA key is that of RFC 7518,
// section 3.3; more than 4096 bits, or a large exponent, would only be work for us.
func allowed(key any, algorithm jose.SignatureAlgorithm) bool {
	switch k := key.(type) {
	case *ecdsa.PublicKey:
		return algorithm == jose.ES256 && k.Curve == elliptic.P256()
	case *rsa.PublicKey:
		return algorithm == jose.RS256 && k.N.BitLen() >= 2048 && k.N.BitLen() <= 4096 && k.E >= 3 &&
			k.E <= 65537 && k.E%2 == 1
	}
	return false
}

// unquote returns the text of a structured field that is a string (RFC 9651, section 3.3.3), or a bare text, as
// Chromium sends it. No text of ours has an escape.
func unquote(field string) string {
	field = strings.TrimSpace(field)
	rest, ok := strings.CutPrefix(field, `"`)
	if !ok {
		return field
	}
	text, _, _ := strings.Cut(rest, `"`)
	return text
}
