package tlsengine

import (
	"bytes"
	"crypto/tls"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/pollux-io/pollux/internal/tlsengine/tlstest"
)

// rawPeer returns a Conn, and both directions of its peer, which can send any record.
func rawPeer(t testing.TB, mode Mode, client bool) (c *Conn, out, in *tlstest.Half) {
	t.Helper()
	serverConfig, clientConfig := tlstest.Configs(tls.VersionTLS13)
	var keys bytes.Buffer
	serverConfig.SessionTicketsDisabled, clientConfig.KeyLogWriter = true, &keys
	s, cl, err := pair(Options{Config: serverConfig, mode: mode}, Options{Config: clientConfig, mode: mode})
	if err != nil {
		t.Fatal(err)
	}
	if s.ConnectionState().CipherSuite != tls.TLS_AES_128_GCM_SHA256 {
		t.Skip("skipped: this processor has no instructions for AES, so crypto/tls chooses a cipher that this test does not have")
	}
	secrets := map[string]*tlstest.Half{}
	for line := range strings.Lines(keys.String()) {
		if f := strings.Fields(line); len(f) == 3 {
			secret, err := hex.DecodeString(f[2])
			if err != nil {
				t.Fatal(err)
			}
			secrets[f[0]] = tlstest.NewHalf(t, secret)
		}
	}
	c, out, in = s, secrets["CLIENT_TRAFFIC_SECRET_0"], secrets["SERVER_TRAFFIC_SECRET_0"]
	if client {
		c, out, in = cl, in, out
	}
	return c, out, in
}

// eachRaw runs a test with a peer that sends any records, for both modes and roles.
func eachRaw(t *testing.T, test func(t *testing.T, c *Conn, out, in *tlstest.Half, client bool)) {
	for _, mode := range []Mode{InPlace, Copying} {
		for _, client := range []bool{false, true} {
			role := "server"
			if client {
				role = "client"
			}
			t.Run(mode.String()+"/"+role, func(t *testing.T) {
				c, out, in := rawPeer(t, mode, client)
				test(t, c, out, in, client)
			})
		}
	}
}
