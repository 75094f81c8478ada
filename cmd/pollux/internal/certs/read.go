package certs

import (
	"bytes"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
)

// maxFileBytes is the size of the largest file that is read: that of many chains of certificates.
const maxFileBytes = 1 << 20

// read reads a certificate and its key.
func read(certFile, keyFile string) (*tls.Certificate, error) {
	cert, err := readFile("certificate", certFile)
	if err != nil {
		return nil, err
	}
	key, err := readFile("private key", keyFile)
	if err != nil {
		return nil, err
	}
	defer clear(key)
	if err := checkBlocks(cert, key, certFile, keyFile); err != nil {
		return nil, err
	}
	// Each file is parsed alone first: the error of X509KeyPair names neither.
	if err := checkCertificates(cert); err != nil {
		return nil, fmt.Errorf("certificate file %s: %w; give a certificate in PEM format, with those of its issuers behind it", certFile, err)
	}
	if !hasKey(key) {
		// Errors of the parsers may describe the key's bytes.
		return nil, fmt.Errorf("private key file %s: the key cannot be parsed; give an RSA, ECDSA or Ed25519 key in PEM format", keyFile)
	}
	c, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("the private key of %s does not belong to the certificate of %s; give the key from which the certificate was requested, and the server's certificate first", keyFile, certFile)
	}
	return &c, nil
}

func readFile(what, name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("read the %s: %w%s", what, err, openHint(err))
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFileBytes+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read the %s: %w; give a file in PEM format", what, err)
	case len(b) > maxFileBytes:
		return nil, fmt.Errorf("%s file %s: it is larger than %d bytes; give a file in PEM format", what, name, maxFileBytes)
	case len(bytes.TrimSpace(b)) == 0:
		return nil, fmt.Errorf("%s file %s: it is empty; give a file in PEM format", what, name)
	}
	return b, nil
}

func openHint(err error) string {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "; give the path of the file"
	case errors.Is(err, fs.ErrPermission):
		return "; make the file readable for this user"
	}
	return ""
}

// checkBlocks returns an error if a file does not have the kind of PEM block that it is for.
func checkBlocks(cert, key []byte, certFile, keyFile string) error {
	inCert, inKey := kindsOf(cert), kindsOf(key)
	switch {
	case inCert.total() == 0:
		return fmt.Errorf(`certificate file %s: it has no PEM block; convert it: "openssl x509 -inform DER -in %s"`, certFile, certFile)
	case inCert.certificates == 0 && inCert.keys > 0 && inKey.certificates > 0:
		return fmt.Errorf("certificate file %s: it has a private key; exchange --tls-cert and --tls-key", certFile)
	case inCert.certificates == 0:
		return fmt.Errorf("certificate file %s: it has no certificate; its PEM block must be CERTIFICATE", certFile)
	case inKey.total() == 0:
		return fmt.Errorf(`private key file %s: it has no PEM block; convert it: "openssl pkey -inform DER -in %s"`, keyFile, keyFile)
	case inKey.encrypted:
		return fmt.Errorf(`private key file %s: the key is encrypted; decrypt it: "openssl pkey -in %s"`, keyFile, keyFile)
	case inKey.keys == 0:
		return fmt.Errorf("private key file %s: it has no private key; its PEM block must be PRIVATE KEY", keyFile)
	}
	return nil
}

// kinds are the PEM blocks of a file.
type kinds struct {
	certificates, keys, others int
	encrypted                  bool // the first key
}

func (k kinds) total() int { return k.certificates + k.keys + k.others }

func kindsOf(b []byte) (k kinds) {
	for {
		var block *pem.Block
		if block, b = pem.Decode(b); block == nil {
			return k
		}
		switch {
		case block.Type == "CERTIFICATE":
			k.certificates++
		case isKey(block.Type):
			if k.keys == 0 {
				k.encrypted = block.Type == "ENCRYPTED PRIVATE KEY" || strings.Contains(block.Headers["Proc-Type"], "ENCRYPTED")
			}
			k.keys++
		default:
			k.others++
		}
	}
}

// isKey reports whether crypto/tls reads a block of that type as a key.
func isKey(blockType string) bool {
	return blockType == "PRIVATE KEY" || strings.HasSuffix(blockType, " PRIVATE KEY")
}
