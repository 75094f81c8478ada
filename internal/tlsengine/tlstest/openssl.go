package tlstest

import (
	"bufio"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// OpenSSL returns the program, or skips the test.
func OpenSSL(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("skipped: no openssl on this machine (Debian: apt-get install openssl)")
	}
	return path
}

// PEMFiles writes the certificate and the key of the first identity.
func PEMFiles(t *testing.T) (certificate, key string) {
	t.Helper()
	id := Identities()[0].Certificate
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

// A Program is a program with pipes, such as openssl. Its output is read by lines; a test that waits for one in vain is ended by the time
// limit of go test.
type Program struct {
	t     *testing.T
	stdin io.WriteCloser
	lines chan string
}

// Start starts a program. It is killed after the test.
func Start(t *testing.T, path string, args ...string) *Program {
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
	p := &Program{t: t, stdin: stdin, lines: make(chan string, 10000)}
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

// Say writes a line to its input.
func (p *Program) Say(line string) { fmt.Fprintln(p.stdin, line) }

// Expect returns the next line that contains the text.
func (p *Program) Expect(text string) string {
	p.t.Helper()
	var seen []string
	for line := range p.lines {
		if strings.Contains(line, text) {
			return line
		}
		seen = append(seen, line)
	}
	p.t.Fatalf("the program has ended without %q:\n%s", text, strings.Join(seen, "\n"))
	return ""
}
