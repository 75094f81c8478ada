// Package tlstest has what tests of TLS need in several packages: certificates, a record layer that can send any record, and
// openssl as the other end. No other code imports it.
package tlstest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	crand "crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"sync"
	"time"
)

// An Identity is a self-signed certificate, which is its own root.
type Identity struct {
	Certificate tls.Certificate
	Pool        *x509.CertPool
}

// Identities returns two identities, each the same for all tests of a process.
var Identities = sync.OnceValue(func() (ids [2]Identity) {
	for i := range ids {
		key, err := ecdsa.GenerateKey(elliptic.P256(), crand.Reader)
		if err != nil {
			panic(err)
		}
		template := &x509.Certificate{
			SerialNumber: big.NewInt(int64(i + 1)), Subject: pkix.Name{CommonName: fmt.Sprint("identity ", i)},
			DNSNames: []string{"server.example", "other.example"}, IsCA: true, BasicConstraintsValid: true,
			NotBefore: time.Unix(946684800, 0), NotAfter: time.Unix(946684800, 0).AddDate(100, 0, 0), // synctest's clock begins in 2000
			KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		}
		der, err := x509.CreateCertificate(crand.Reader, template, template, key.Public(), key)
		if err != nil {
			panic(err)
		}
		leaf, err := x509.ParseCertificate(der)
		if err != nil {
			panic(err)
		}
		ids[i] = Identity{tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, x509.NewCertPool()}
		ids[i].Pool.AddCert(leaf)
	}
	return ids
})

// Configs returns configurations for both sides, with TLS versions up to the one given.
func Configs(version uint16) (server, client *tls.Config) {
	ids := Identities()
	server = &tls.Config{Certificates: []tls.Certificate{ids[0].Certificate}, MaxVersion: version}
	client = &tls.Config{RootCAs: ids[0].Pool, ServerName: "server.example", MaxVersion: version, CurvePreferences: []tls.CurveID{tls.X25519}}
	return server, client
}
