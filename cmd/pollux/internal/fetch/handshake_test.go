package fetch

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pollux-io/pollux/cmd/pollux/internal/faultserver"
	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/internal/tlsengine/tlstest"
)

// A failedHandshake is how a server lets a handshake fail, and what is printed behind "set up TLS with ...: ".
type failedHandshake struct {
	certificate func(t *testing.T, a *faultserver.Authority) tls.Certificate // nil: a good one
	config      func(*tls.Config)                                            // nil: unchanged
	host        string                                                       // "": name.test
	want        string
}

const otherCertificate = "; check the host in the URL"

var failedHandshakes = map[string]failedHandshake{
	"wrong host": {
		certificate: func(t *testing.T, a *faultserver.Authority) tls.Certificate {
			return a.IssueFor(t, "a.test", "*.b.test")
		},
		want: "the certificate is for a.test, *.b.test, not for name.test" + otherCertificate,
	},
	"wrong address": {
		certificate: func(t *testing.T, a *faultserver.Authority) tls.Certificate { return a.IssueFor(t, "name.test") },
		host:        "127.0.0.1",
		want:        "the certificate is for name.test, not for 127.0.0.1" + otherCertificate,
	},
	"many names, one of them hostile": {
		certificate: func(t *testing.T, a *faultserver.Authority) tls.Certificate {
			return a.IssueFor(t, "a\x1b[31m\n.test", "b.test", "c.test", "d.test", "e.test")
		},
		want: "the certificate is for a?[31m?.test, b.test, c.test and 2 more, not for name.test" + otherCertificate,
	},
	"no name": {
		certificate: func(t *testing.T, a *faultserver.Authority) tls.Certificate { return a.IssueFor(t) },
		want:        "the certificate is for no host, not for name.test" + otherCertificate,
	},
	"expired": {
		certificate: func(t *testing.T, a *faultserver.Authority) tls.Certificate {
			return a.Issue(t, func(c *x509.Certificate) {
				c.NotBefore, c.NotAfter = time.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC)
			})
		},
		want: "the certificate expired at 2001-02-03 04:05:06 UTC; check the clock of this machine; if it is right, the server needs another certificate",
	},
	"not yet valid": {
		certificate: func(t *testing.T, a *faultserver.Authority) tls.Certificate {
			return a.Issue(t, func(c *x509.Certificate) {
				c.NotBefore, c.NotAfter = time.Date(2222, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2223, 1, 1, 0, 0, 0, 0, time.UTC)
			})
		},
		want: "the certificate is not valid before 2222-01-01 00:00:00 UTC; check the clock of this machine; if it is right, the server needs another certificate",
	},
	"unknown authority": {
		certificate: func(t *testing.T, _ *faultserver.Authority) tls.Certificate {
			return faultserver.NewAuthority(t).Issue(t, nil)
		},
		want: `the certificate is signed by an unknown authority, "CN=authority"; if you trust the authority, give its certificate by --cacert; the server may also lack an intermediate certificate`,
	},
	"self-signed": {
		certificate: func(t *testing.T, a *faultserver.Authority) tls.Certificate { return a.SelfSigned(t) },
		want:        "the certificate is self-signed, and not among the trusted ones; if you trust it, give it by --cacert",
	},
	"wrong purpose": {
		certificate: func(t *testing.T, a *faultserver.Authority) tls.Certificate {
			return a.Issue(t, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} })
		},
		want: "the certificate is invalid: certificate specifies an incompatible key usage",
	},
	"old version": {
		config: func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 },
		want:   `the server refused the connection by the alert "protocol version not supported"; it supports neither TLS 1.2 nor 1.3`,
	},
	"no common cipher suite": {
		config: func(c *tls.Config) {
			c.MaxVersion, c.CipherSuites = tls.VersionTLS12, []uint16{tls.TLS_RSA_WITH_AES_128_CBC_SHA}
		},
		want: `the server refused the connection by the alert "handshake failure"; it has no cipher suite or curve in common with pollux, or asks for a client certificate, which pollux cannot send`,
	},
	"no common protocol": {
		config: func(c *tls.Config) { c.NextProtos = []string{"imap"} },
		want:   `the server refused the connection by the alert "no application protocol"; it does not offer HTTP/1.1`,
	},
	"client certificate, TLS 1.2": {
		config: func(c *tls.Config) { c.MaxVersion, c.ClientAuth = tls.VersionTLS12, tls.RequireAnyClientCert },
		want:   `the server refused the connection by the alert "handshake failure"; it has no cipher suite or curve in common with pollux, or asks for a client certificate, which pollux cannot send`,
	},
}

// Each way in which a handshake fails is a failure with the reason and the server, on one line. None is tried again, and
// nothing is stored.
func TestHandshakeFailures(t *testing.T) {
	for name, c := range failedHandshakes {
		t.Run(name, func(t *testing.T) {
			b, a := secureBench(t)
			b.Retries = 3
			certificate := func(t *testing.T, a *faultserver.Authority) tls.Certificate { return a.Issue(t, nil) }
			if c.certificate != nil {
				certificate = c.certificate
			}
			config := serverConfig(certificate(t, a))
			if c.config != nil {
				c.config(config)
			}
			s := faultserver.TLS(t, config, func(c *tls.Conn, _ *http.Request) { io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\nhello") })
			url, step := at("name.test", s, "/"), "name.test:"+portOf(s)+" ("+s.Addr+")"
			if c.host != "" {
				url, step = at(c.host, s, "/"), s.Addr
			}
			r := b.run(t, url)[0]
			if want := "set up TLS with " + step + ": " + c.want; r.Err == nil || r.Err.Error() != want || r.Tries != 1 || s.Count() != 1 || len(b.memory.whole) != 0 {
				t.Errorf("%v after %d tries\nwant %s", r.Err, r.Tries, want)
			}
		})
	}
}

func portOf(s *faultserver.Server) string {
	_, port, _ := net.SplitHostPort(s.Addr)
	return port
}

// An expired authority is named.
func TestExpiredAuthority(t *testing.T) {
	a := faultserver.NewAuthority(t)
	leaf, authority := a.Issue(t, nil).Leaf, a.Issue(t, func(c *x509.Certificate) { c.Subject.CommonName = "the \x1b authority" }).Leaf
	want := `the certificate of the authority "CN=the ? authority" expired at ` + authority.NotAfter.UTC().Format("2006-01-02 15:04:05 UTC")
	if err := outOfDate(authority, leaf, time.Now().AddDate(1, 0, 0)); err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}

// With TLS 1.3 a server asks for a client certificate after the handshake of the client has ended: the failure is the same,
// whether or not the server has read the request.
func TestClientCertificateRequired(t *testing.T) {
	b, a := secureBench(t)
	b.Retries = 3
	config := serverConfig(a.Issue(t, nil))
	config.MinVersion, config.ClientAuth = tls.VersionTLS13, tls.RequireAnyClientCert
	s := faultserver.Raw(t, func(c *net.TCPConn) {
		if err := tls.Server(c, config).Handshake(); err == nil {
			t.Error("the handshake is successful")
		}
		c.CloseWrite()
		faultserver.Wait(c)
	})
	r := b.run(t, at("name.test", s, "/"))[0]
	const want = `the server refused the connection by the alert "certificate required"; it asks for a client certificate, which pollux cannot send`
	if r.Err == nil || !strings.HasSuffix(r.Err.Error(), ": "+want) || r.Tries != 1 {
		t.Errorf("%v after %d tries, want %s", r.Err, r.Tries, want)
	}
}

// readHello reads the record of a ClientHello, so that a close sends FIN and no reset.
func readHello(c *net.TCPConn) {
	var header [5]byte
	if _, err := io.ReadFull(c, header[:]); err == nil {
		io.CopyN(io.Discard, c, int64(header[3])<<8|int64(header[4]))
	}
}

// A server that does not speak TLS, or ends the connection during the handshake, is reported as such; only a connection that
// breaks is tried again.
func TestNoTLS(t *testing.T) {
	for name, c := range map[string]struct {
		talk  func(*net.TCPConn)
		want  string
		tries int
	}{
		"HTTP": {
			func(c *net.TCPConn) { io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n") },
			"the server gave an HTTP response to an HTTPS client; write http:// instead of https://, or check the port", 1,
		},
		"SSH":    {func(c *net.TCPConn) { io.WriteString(c, "SSH-2.0-OpenSSH_9.6\r\n") }, "the server's answer is not TLS; check that this port speaks TLS", 1},
		"closes": {func(*net.TCPConn) {}, "the server closed the connection during the handshake", 3},
		"closes inside of a record": {
			func(c *net.TCPConn) { c.Write([]byte{22, 3, 3, 0, 100, 2}) },
			"the server closed the connection during the handshake", 3,
		},
		"internal error": {func(c *net.TCPConn) { c.Write([]byte{21, 3, 3, 0, 2, 2, 80}) }, `the server refused the connection by the alert "internal error"`, 3},
		"unknown name": {
			func(c *net.TCPConn) { c.Write([]byte{21, 3, 3, 0, 2, 2, 112}) },
			`the server refused the connection by the alert "unrecognized name"; it does not serve this name: check the host`, 1,
		},
		"a record of data":     {func(c *net.TCPConn) { c.Write([]byte{23, 3, 3, 0, 1, 0}) }, "the server's answer is not TLS; check that this port speaks TLS", 1},
		"an empty ServerHello": {func(c *net.TCPConn) { c.Write([]byte{22, 3, 3, 0, 4, 2, 0, 0, 0}) }, "error decoding message", 1},
	} {
		t.Run(name, func(t *testing.T) {
			b, _ := secureBench(t)
			b.Retries = 2
			s := faultserver.Raw(t, func(conn *net.TCPConn) {
				readHello(conn)
				c.talk(conn)
				conn.CloseWrite()
				faultserver.Wait(conn)
			})
			r := b.run(t, at("127.0.0.1", s, "/"))[0]
			want := "set up TLS with " + s.Addr + ": " + c.want
			if r.Err == nil || r.Err.Error() != want || r.Tries != c.tries {
				t.Errorf("%v after %d tries, want %s", r.Err, r.Tries, want)
			}
		})
	}
}

// A reset during the handshake is a broken connection, which is tried again.
func TestResetDuringTheHandshake(t *testing.T) {
	testkit.SkipOnWine(t, "Wine 8 may read EOF after RST")
	b, _ := secureBench(t)
	b.Retries = 2
	s := faultserver.Raw(t, func(c *net.TCPConn) {
		readHello(c)
		c.SetLinger(0)
	})
	r := b.run(t, at("127.0.0.1", s, "/"))[0]
	errno, ok := errors.AsType[syscall.Errno](r.Err)
	if want := "set up TLS with " + s.Addr + ": " + errno.Error(); !ok || r.Err.Error() != want || r.Tries != 3 {
		t.Errorf("%v after %d tries, want %s", r.Err, r.Tries, want)
	}
}

// The same failures with openssl as the server.
func TestOpenSSL(t *testing.T) {
	program := tlstest.OpenSSL(t)
	a := faultserver.NewAuthority(t)
	good := a.Issue(t, nil)
	const refused = "the server refused the connection by the alert "
	for name, c := range map[string]struct {
		certificate tls.Certificate
		flags       string
		want        string // "": success
	}{
		"success, TLS 1.2":            {good, "-www -tls1_2", ""},
		"success, TLS 1.3":            {good, "-www -tls1_3", ""},
		"wrong host":                  {a.IssueFor(t, "other.test"), "-www", "the certificate is for other.test, not for name.test"},
		"expired":                     {a.Issue(t, func(c *x509.Certificate) { c.NotBefore, c.NotAfter = time.Unix(1e9, 0), time.Unix(1.1e9, 0) }), "-www", "the certificate expired at 2004-11-09"},
		"not yet valid":               {a.Issue(t, func(c *x509.Certificate) { c.NotBefore, c.NotAfter = time.Unix(8e9, 0), time.Unix(9e9, 0) }), "-www", "the certificate is not valid before 2223-07-06"},
		"unknown authority":           {faultserver.NewAuthority(t).Issue(t, nil), "-www", "signed by an unknown authority"},
		"self-signed":                 {a.SelfSigned(t), "-www", "is self-signed"},
		"old version":                 {good, "-www -tls1_1 -cipher ALL:@SECLEVEL=0", refused + `"protocol version not supported"`},
		"no common cipher suite":      {good, "-www -tls1_2 -cipher ECDHE-ECDSA-AES256-CCM8", refused + `"handshake failure"`},
		"client certificate, TLS 1.2": {good, "-www -tls1_2 -Verify 1", refused + `"handshake failure"`},
		"client certificate, TLS 1.3": {good, "-www -tls1_3 -Verify 1", refused + `"certificate required"`},
		"unknown name":                {good, "-www -servername elsewhere.test -servername_fatal", refused + `"unrecognized name"; it does not serve this name`},
		"no common protocol":          {good, "-www -alpn h2", refused + `"no application protocol"`},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.Roots, b.hosts = a.Pool, hostsFile("name.test", "127.0.0.1")
			dir := testkit.TempDir(t)
			certificate, key := faultserver.Files(t, dir, c.certificate)
			args := []string{"s_server", "-accept", "127.0.0.1:0", "-cert", certificate, "-key", key, "-cert2", certificate, "-key2", key, "-CAfile", a.File(t, dir)}
			p := tlstest.Start(t, program, append(args, strings.Fields(c.flags)...)...)
			address := strings.TrimPrefix(p.Expect("ACCEPT 127.0.0.1:"), "ACCEPT ")
			_, port, _ := net.SplitHostPort(address)
			r := b.run(t, fmt.Sprintf("https://name.test:%s/", port))[0]
			switch {
			case c.want == "" && (r.Err != nil || !strings.Contains(string(b.memory.whole[0]), "s_server")):
				t.Errorf("%v, body %.100q", r.Err, b.memory.whole[0])
			case c.want != "" && (r.Err == nil || !strings.Contains(r.Err.Error(), c.want) || r.Tries != 1):
				t.Errorf("%v, want %s", r.Err, c.want)
			}
		})
	}
}
