package app

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"fmt"
	"io"
	"math/big"
	"net"
	"time"
)

// secured returns the listener with TLS, which device bound sessions need, by a certificate made for this run. It says
// how to open the page in a browser that accepts the certificate, and that keeps its keys in software if the machine
// has no TPM.
func secured(listener net.Listener, name string, out io.Writer) (net.Listener, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: "localhost"},
		DNSNames:  []string{"localhost"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(0, 0, 30),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	pin := sha256.Sum256(certificate.RawSubjectPublicKeyInfo)
	fmt.Fprintf(out, `%s: the certificate is of this run alone; a browser for it, with a profile of its own:
chromium --user-data-dir=/tmp/hipflask-dbsc \
  --enable-features=DeviceBoundSessions,EnableBoundSessionCredentialsSoftwareKeysForManualTesting \
  --ignore-certificate-errors-spki-list=%s \
  https://localhost:%d/
`, name, base64.StdEncoding.EncodeToString(pin[:]), listener.Addr().(*net.TCPAddr).Port)
	return tls.NewListener(listener, &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
		NextProtos:   []string{"http/1.1"},
	}), nil
}
