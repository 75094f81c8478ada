package tlsengine

import (
	"crypto/tls"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/pollux-io/pollux/internal/tlsengine/tlstest"
)

// bridge connects a rig to a socket, until both directions have ended.
func bridge(r *rig, conn net.Conn) {
	go func() {
		io.Copy(conn, r.peer.in)
		conn.(*net.TCPConn).CloseWrite()
	}()
	go func() {
		io.Copy(r.peer.out, conn)
		r.peer.out.end()
	}()
}

func TestOpenSSLClient(t *testing.T) {
	path := tlstest.OpenSSL(t)
	certificate, _ := tlstest.PEMFiles(t)
	for _, mode := range []Mode{InPlace, Copying} {
		for flag, version := range map[string]uint16{"-tls1_3": tls.VersionTLS13, "-tls1_2": tls.VersionTLS12} {
			t.Run(mode.String()+flag, func(t *testing.T) {
				listener, err := net.Listen("tcp", "127.0.0.1:0")
				if err != nil {
					t.Fatal(err)
				}
				defer listener.Close()
				p := tlstest.Start(t, path, "s_client", "-connect", listener.Addr().String(), flag, "-servername", "server.example",
					"-verify_hostname", "server.example", "-CAfile", certificate, "-verify_return_error", "-alpn", "p,q")
				conn, err := listener.Accept()
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				server, _ := tlstest.Configs(0)
				server.NextProtos = []string{"q"}
				r := newRig(t, Options{Config: server, mode: mode}, -1, nil)
				bridge(r, conn)
				p.Say("first")
				r.until(func() bool { return string(r.received) == "first\n" })
				if r.err != nil {
					t.Fatal(r.err)
				}
				if s := r.c.ConnectionState(); s.Version != version || s.NegotiatedProtocol != "q" || s.ServerName != "server.example" {
					t.Fatalf("%+v", s)
				}
				r.send([]byte("answer to the first\n"))
				p.Expect("answer to the first")
				if version == tls.VersionTLS13 {
					for range 3 {
						p.Say("K") // KeyUpdate, with a request for the other direction's
						p.Expect("KEYUPDATE")
					}
				}
				p.Say("second")
				r.until(func() bool { return string(r.received) == "first\nsecond\n" })
				if r.err != nil {
					t.Fatal(r.err)
				}
				r.send([]byte("answer to the second\n"))
				p.Expect("answer to the second")
				if version == tls.VersionTLS12 {
					p.Say("R") // renegotiation
					r.until(func() bool { return false })
					if r.err == nil || r.err == io.EOF {
						t.Fatalf("renegotiation: %v", r.err)
					}
					p.Expect("alert")
					return
				}
				p.Say("Q")
				r.until(func() bool { return false })
				if r.err != io.EOF {
					t.Fatalf("the end is %v", r.err)
				}
				r.peer.in.Write(r.c.CloseNotify(nil))
				r.peer.in.end()
			})
		}
	}
}

func TestOpenSSLServer(t *testing.T) {
	path := tlstest.OpenSSL(t)
	certificate, key := tlstest.PEMFiles(t)
	for _, mode := range []Mode{InPlace, Copying} {
		for flag, version := range map[string]uint16{"-tls1_3": tls.VersionTLS13, "-tls1_2": tls.VersionTLS12} {
			t.Run(mode.String()+flag, func(t *testing.T) {
				p := tlstest.Start(t, path, "s_server", "-accept", "127.0.0.1:0", flag, "-cert", certificate, "-key", key)
				address := strings.TrimPrefix(p.Expect("ACCEPT 127.0.0.1:"), "ACCEPT ")
				conn, err := net.Dial("tcp", address)
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				_, client := tlstest.Configs(0)
				client.CurvePreferences = nil // TLS 1.2 needs that of the certificate's key
				r := newRig(t, Options{Config: client, Client: true, mode: mode}, -1, nil)
				bridge(r, conn)
				r.until(func() bool { return r.done })
				if r.err != nil {
					t.Fatal(r.err)
				}
				if s := r.c.ConnectionState(); s.Version != version {
					t.Fatalf("%+v", s)
				}
				r.send([]byte("from the client\n"))
				p.Expect("from the client")
				p.Say("first")
				r.until(func() bool { return string(r.received) == "first\n" })
				if version == tls.VersionTLS13 {
					for _, command := range []string{"K", "k"} { // KeyUpdate, with and without a request
						silent := r.silent
						p.Say(command) // a command takes a whole chunk of input: the next one waits for its effect
						r.until(func() bool { return r.silent > silent })
					}
				}
				p.Say("second")
				r.until(func() bool { return string(r.received) == "first\nsecond\n" })
				if r.err != nil {
					t.Fatal(r.err)
				}
				r.send([]byte("from the client again\n"))
				p.Expect("from the client again")
				if version == tls.VersionTLS12 {
					p.Say("r") // renegotiation
					r.until(func() bool { return false })
					if r.err == nil || r.err == io.EOF || !strings.Contains(r.err.Error(), "renegotiation") {
						t.Fatalf("renegotiation: %v", r.err)
					}
					return
				}
				r.peer.in.Write(r.c.CloseNotify(nil))
				r.peer.in.end()
				r.until(func() bool { return false })
				if r.err != io.EOF {
					t.Fatalf("the end is %v", r.err)
				}
			})
		}
	}
}
