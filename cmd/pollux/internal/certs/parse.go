package certs

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
)

// checkCertificates returns an error if a certificate of a file in PEM format cannot be parsed.
func checkCertificates(b []byte) error {
	for n := 0; ; {
		var block *pem.Block
		if block, b = pem.Decode(b); block == nil {
			return nil
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		n++
		if _, err := x509.ParseCertificate(block.Bytes); err != nil {
			return fmt.Errorf("certificate %d cannot be parsed: %w", n, err)
		}
	}
}

// hasKey reports whether the first key of a file in PEM format can be parsed.
func hasKey(b []byte) bool {
	for {
		var block *pem.Block
		if block, b = pem.Decode(b); block == nil {
			return false
		}
		if !isKey(block.Type) {
			continue
		}
		if _, err := x509.ParsePKCS8PrivateKey(block.Bytes); err == nil {
			return true
		}
		if _, err := x509.ParsePKCS1PrivateKey(block.Bytes); err == nil {
			return true
		}
		_, err := x509.ParseECPrivateKey(block.Bytes)
		return err == nil
	}
}
