package main

import (
	"bytes"
	"crypto/tls"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pollux-io/pollux/internal/testkit"
)

// The protocols of streams are served with TLS on the loop: bytes are exact, half-close works, the certificate is reloaded.
func TestServeTLS(t *testing.T) {
	dir := testkit.TempDir(t)
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	writePair(t, cert, key)
	data := noise(1 << 20)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, protocol := range []string{"echo", "discard", "chargen"} {
			t.Run(protocol+", "+tls.VersionName(version), func(t *testing.T) {
				s := startServe(t, protocol, "-l", "127.0.0.1:0", "--tls-cert", cert, "--tls-key", key)
				if !strings.HasPrefix(s.line, protocol+" on tls://127.0.0.1:") {
					t.Errorf("line %q", s.line)
				}
				c := tls.Client(connect(t, "tcp", s.where[0]), &tls.Config{InsecureSkipVerify: true, MaxVersion: version})
				switch protocol {
				case "chargen":
					got := make([]byte, len(data))
					if _, err := io.ReadFull(c, got); err != nil {
						t.Error(err)
					}
					checkText(t, got)
				default:
					want := map[string][]byte{"echo": data}[protocol]
					if got := exchange(t, c, data); !bytes.Equal(got, want) {
						t.Errorf("received %d bytes, want %d; or they differ", len(got), len(want))
					}
					if status := s.end(); status != exitOK {
						t.Errorf("status %d\n%s", status, s.err)
					}
				}
			})
		}
	}
	s := startServe(t, "echo", "-l", "127.0.0.1:0", "--tls-cert", cert, "--tls-key", key, "--metrics", "127.0.0.1:0")
	first := certificateOf(t, s.where[0])
	writePair(t, cert, key)
	if !s.hangUp() || bytes.Equal(certificateOf(t, s.where[0]), first) {
		t.Error("the new certificate is not in use")
	}
	c := connect(t, "tcp", s.where[0])
	io.WriteString(c, "nonsense\r\n\r\n")
	io.ReadAll(c)
	waitFor(t, s, "pollux_tls_handshake_errors_total", func(v float64) bool { return v == 1 })
	if s.end(); strings.Contains(s.err.String(), "handshake") {
		t.Errorf("%s", s.err)
	}
}
