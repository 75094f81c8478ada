package main

import (
	"crypto/tls"
	"crypto/x509"
	"net/http/httptest"
	"strings"
	"testing"
)

// The cases of the suite pass with TLS as well, and so do rooms.
func TestTLS(t *testing.T) {
	certified := httptest.NewUnstartedServer(nil) // only for its certificate
	certified.StartTLS()
	defer certified.Close()
	o := autobahnOptions()
	o.tls = &tls.Config{Certificates: certified.TLS.Certificates}
	addr := start(t, o)
	roots := x509.NewCertPool()
	roots.AddCert(certified.Certificate())
	secure := func(t *testing.T) *tls.Conn {
		return tls.Client(dial(t, addr), &tls.Config{RootCAs: roots, ServerName: "example.com"})
	}
	for _, tc := range cases() {
		if long := strings.HasPrefix(tc.number, "9.") && tc.number != "9.1.6"; long {
			continue
		}
		t.Run(tc.number, func(t *testing.T) { tc.run(t, open(t, secure(t), echoPath), func() {}) })
	}
	a, b := open(t, secure(t), "/hub/a"), open(t, secure(t), "/hub/a")
	a.Write(text("to all"))
	for _, c := range []*client{a, b} {
		c.expect(t, reply{opText, "to all"})
	}
}
