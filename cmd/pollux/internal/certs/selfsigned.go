package certs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"slices"
	"time"
)

const (
	// selfSignedFor is how long a self-signed certificate is valid: browsers and Apple's libraries accept at most
	// 398 days (https://support.apple.com/en-us/102028).
	selfSignedFor = 365 * 24 * time.Hour
	// clockSkew is how far a client's clock may be behind.
	clockSkew = time.Hour
	// serialBits is the length of its serial number, which RFC 5280, section 4.1.2.2, limits to 20 bytes.
	serialBits = 127
	// maxNames is the maximum number of addresses in a certificate.
	maxNames = 100
)

// SelfSign makes a certificate that is its own issuer, with an ECDSA key on P-256. Both are in memory only. It is valid
// for localhost, the loopback addresses and addrs; an unspecified address stands for all of this machine.
func SelfSign(addrs []netip.Addr) (*Source, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a self-signed certificate: %w", err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), serialBits))
	if err != nil {
		return nil, fmt.Errorf("make a self-signed certificate: %w", err)
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: serial.Add(serial, big.NewInt(1)), // RFC 5280: positive
		Subject:      pkix.Name{CommonName: "pollux serve, self-signed"},
		NotBefore:    now.Add(-clockSkew), NotAfter: now.Add(selfSignedFor),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
		DNSNames:              []string{"localhost"}, IPAddresses: ipAddresses(addrs),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("make a self-signed certificate: %w", err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("make a self-signed certificate: %w", err)
	}
	s := &Source{}
	s.current.Store(&tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf})
	return s, nil
}

// ipAddresses returns the loopback addresses and addrs, each once.
func ipAddresses(addrs []netip.Addr) []net.IP {
	all := []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}
	add := func(a netip.Addr) {
		if a = a.Unmap().WithZone(""); len(all) < maxNames && a.IsValid() && !a.IsUnspecified() && !slices.Contains(all, a) {
			all = append(all, a)
		}
	}
	for _, a := range addrs {
		add(a)
		if a.IsUnspecified() {
			for _, own := range ownAddresses() {
				add(own)
			}
		}
	}
	var ips []net.IP
	for _, a := range all {
		ips = append(ips, a.AsSlice())
	}
	return ips
}

// ownAddresses returns the addresses of this machine's interfaces, or none if the system does not report them.
func ownAddresses() (all []netip.Addr) {
	interfaces, _ := net.InterfaceAddrs()
	for _, i := range interfaces {
		if p, ok := i.(*net.IPNet); ok {
			if a, ok := netip.AddrFromSlice(p.IP); ok {
				all = append(all, a)
			}
		}
	}
	return all
}
