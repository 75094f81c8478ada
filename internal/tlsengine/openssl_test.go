package tlsengine

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// openssl returns the program, or skips the test.
func openssl(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("skipped: no openssl on this machine (Debian: apt-get install openssl)")
	}
	return path
}

// pemFiles writes the certificate and the key of the first identity.
func pemFiles(t *testing.T) (certificate, key string) {
	t.Helper()
	id := identities()[0].certificate
	der, err := x509.MarshalPKCS8PrivateKey(id.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certificate, key = filepath.Join(dir, "certificate.pem"), filepath.Join(dir, "key.pem")
	for name, block := range map[string]*pem.Block{certificate: {Type: "CERTIFICATE", Bytes: id.Certificate[0]}, key: {Type: "PRIVATE KEY", Bytes: der}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certificate, key
}

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

// program is openssl with pipes. Its output is read by lines; a test that waits for one in vain is ended by the time
// limit of go test.
type program struct {
	t     *testing.T
	stdin io.WriteCloser
	lines chan string
}

func start(t *testing.T, path string, args ...string) *program {
	t.Helper()
	cmd := exec.Command(path, args...)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = in, in
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	in.Close()
	p := &program{t: t, stdin: stdin, lines: make(chan string, 10000)}
	go func() {
		defer close(p.lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			p.lines <- s.Text()
		}
	}()
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		out.Close()
	})
	return p
}

func (p *program) say(line string) { fmt.Fprintln(p.stdin, line) }

// expect returns the next line that contains the text.
func (p *program) expect(text string) string {
	p.t.Helper()
	var seen []string
	for line := range p.lines {
		if strings.Contains(line, text) {
			return line
		}
		seen = append(seen, line)
	}
	p.t.Fatalf("openssl has ended without %q:\n%s", text, strings.Join(seen, "\n"))
	return ""
}

func TestOpenSSLClient(t *testing.T) {
	path := openssl(t)
	certificate, _ := pemFiles(t)
	for _, mode := range []Mode{InPlace, Copying} {
		for flag, version := range map[string]uint16{"-tls1_3": tls.VersionTLS13, "-tls1_2": tls.VersionTLS12} {
			t.Run(mode.String()+flag, func(t *testing.T) {
				listener, err := net.Listen("tcp", "127.0.0.1:0")
				if err != nil {
					t.Fatal(err)
				}
				defer listener.Close()
				p := start(t, path, "s_client", "-connect", listener.Addr().String(), flag, "-servername", "server.example",
					"-verify_hostname", "server.example", "-CAfile", certificate, "-verify_return_error", "-alpn", "p,q")
				conn, err := listener.Accept()
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				server, _ := configs(0)
				server.NextProtos = []string{"q"}
				r := newRig(t, Options{Config: server, mode: mode}, -1, nil)
				bridge(r, conn)
				p.say("first")
				r.until(func() bool { return string(r.received) == "first\n" })
				if r.err != nil {
					t.Fatal(r.err)
				}
				if s := r.c.ConnectionState(); s.Version != version || s.NegotiatedProtocol != "q" || s.ServerName != "server.example" {
					t.Fatalf("%+v", s)
				}
				r.send([]byte("answer to the first\n"))
				p.expect("answer to the first")
				if version == tls.VersionTLS13 {
					for range 3 {
						p.say("K") // KeyUpdate, with a request for the other direction's
						p.expect("KEYUPDATE")
					}
				}
				p.say("second")
				r.until(func() bool { return string(r.received) == "first\nsecond\n" })
				if r.err != nil {
					t.Fatal(r.err)
				}
				r.send([]byte("answer to the second\n"))
				p.expect("answer to the second")
				if version == tls.VersionTLS12 {
					p.say("R") // renegotiation
					r.until(func() bool { return false })
					if r.err == nil || r.err == io.EOF {
						t.Fatalf("renegotiation: %v", r.err)
					}
					p.expect("alert")
					return
				}
				p.say("Q")
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
	path := openssl(t)
	certificate, key := pemFiles(t)
	for _, mode := range []Mode{InPlace, Copying} {
		for flag, version := range map[string]uint16{"-tls1_3": tls.VersionTLS13, "-tls1_2": tls.VersionTLS12} {
			t.Run(mode.String()+flag, func(t *testing.T) {
				p := start(t, path, "s_server", "-accept", "127.0.0.1:0", flag, "-cert", certificate, "-key", key)
				address := strings.TrimPrefix(p.expect("ACCEPT 127.0.0.1:"), "ACCEPT ")
				conn, err := net.Dial("tcp", address)
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				_, client := configs(0)
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
				p.expect("from the client")
				p.say("first")
				r.until(func() bool { return string(r.received) == "first\n" })
				if version == tls.VersionTLS13 {
					for _, command := range []string{"K", "k"} { // KeyUpdate, with and without a request
						silent := r.silent
						p.say(command) // a command takes a whole chunk of input: the next one waits for its effect
						r.until(func() bool { return r.silent > silent })
					}
				}
				p.say("second")
				r.until(func() bool { return string(r.received) == "first\nsecond\n" })
				if r.err != nil {
					t.Fatal(r.err)
				}
				r.send([]byte("from the client again\n"))
				p.expect("from the client again")
				if version == tls.VersionTLS12 {
					p.say("r") // renegotiation
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
