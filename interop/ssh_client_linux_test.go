package interop

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/pollux-io/pollux/internal/testkit"
)

// An sshd is OpenSSH's server, which lets the user of this process in with a key.
type sshd struct {
	addr    string
	hostKey ssh.PublicKey
	user    string
	signer  ssh.Signer // of the user
}

// sshKey returns a new key, and its private part as OpenSSH stores it.
func sshKey() (ssh.Signer, []byte) {
	_, private := must2(ed25519.GenerateKey(rand.Reader))
	return must(ssh.NewSignerFromKey(private)), pem.EncodeToMemory(must(ssh.MarshalPrivateKey(private, "")))
}

func must2[A, B any](a A, b B, err error) (A, B) {
	if err != nil {
		panic(err)
	}
	return a, b
}

var sshServer = startOnce(func(t *testing.T, port int) (sshd, error) {
	const separation = "/run/sshd"
	server := program(t, "sshd")
	if _, err := os.Stat(separation); err != nil && os.Getuid() == 0 {
		t.Skipf("sshd needs %s to run as root; .ci/run libraries creates it", separation)
	}
	me, err := user.Current()
	if err != nil {
		return sshd{}, err
	}
	d, err := newDaemon(nil)
	if err != nil {
		return sshd{}, err
	}
	host, hostKey := sshKey()
	signer, _ := sshKey()
	config := fmt.Sprintf(`ListenAddress 127.0.0.1:%d
HostKey %s
AuthorizedKeysFile %s
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
PermitRootLogin prohibit-password
MaxSessions 64
AllowTcpForwarding yes
`, port, filepath.Join(d.dir, "host"), filepath.Join(d.dir, "authorized"))
	for name, content := range map[string][]byte{"host": hostKey, "authorized": ssh.MarshalAuthorizedKey(signer.PublicKey()), "config": []byte(config)} {
		if err := os.WriteFile(filepath.Join(d.dir, name), content, 0o600); err != nil {
			return sshd{}, err
		}
	}
	s := sshd{"127.0.0.1:" + strconv.Itoa(port), host.PublicKey(), me.Username, signer}
	return s, d.start(nil, accepts(port), server, "-D", "-e", "-f", filepath.Join(d.dir, "config"))
})

// onSSH runs f with a client on each side.
func onSSH(t *testing.T, f func(t *testing.T, s side, c *ssh.Client)) {
	t.Helper()
	server := sshServer(t)
	onSides(t, func(t *testing.T, s side) {
		client, err := dialSSH(watchdog(t), s, server.addr, &ssh.ClientConfig{
			User: server.user, Auth: []ssh.AuthMethod{ssh.PublicKeys(server.signer)}, HostKeyCallback: ssh.FixedHostKey(server.hostKey),
		})
		if err != nil {
			t.Fatal(err)
		}
		stop := context.AfterFunc(watchdog(t), func() { client.Close() }) // so that a test that hangs ends
		defer stop()
		defer client.Close()
		f(t, s, client)
	})
}

// run runs a command with input in a session of its own, and returns its output.
func run(c *ssh.Client, command string, input []byte) (stdout, stderr []byte, err error) {
	session, err := c.NewSession()
	if err != nil {
		return nil, nil, err
	}
	defer session.Close()
	var out, errs bytes.Buffer
	session.Stdin, session.Stdout, session.Stderr = bytes.NewReader(input), &out, &errs
	err = session.Run(command)
	return out.Bytes(), errs.Bytes(), err
}

// Commands have their output, error output, exit status and signal; those of many sessions of one connection at once too.
func TestSSHCommands(t *testing.T) {
	const sessions = 4
	onSSH(t, func(t *testing.T, _ side, c *ssh.Client) {
		var wg sync.WaitGroup
		for i := range sessions {
			wg.Go(func() {
				out, errs, err := run(c, fmt.Sprintf("cat; echo error %d >&2; exit %d", i, i), []byte(strconv.Itoa(i)))
				exit, failed := errors.AsType[*ssh.ExitError](err)
				if failed && exit.ExitStatus() != i || !failed && (i != 0 || err != nil) {
					t.Errorf("session %d: %v, want exit status %d", i, err, i)
				}
				if string(out) != strconv.Itoa(i) || string(errs) != fmt.Sprintf("error %d\n", i) {
					t.Errorf("session %d: %q, %q", i, out, errs)
				}
			})
		}
		wg.Wait()
		_, _, err := run(c, "kill -TERM $$", nil)
		if exit, ok := errors.AsType[*ssh.ExitError](err); !ok || exit.Signal() != "TERM" {
			t.Errorf("%v, want the signal TERM", err)
		}
	})
}

// Megabytes through a session come back as they were sent, while keep-alive requests are answered on the same connection.
func TestSSHCopy(t *testing.T) {
	const copyBytes, keepAlives = 10 << 20, 50
	onSSH(t, func(t *testing.T, _ side, c *ssh.Client) {
		alive := make(chan error, 1)
		go func() {
			for range keepAlives {
				// OpenSSH does not know the request, and answers that.
				if _, _, err := c.SendRequest("keepalive@openssh.com", true, nil); err != nil {
					alive <- err
					return
				}
			}
			alive <- nil
		}()
		text := testkit.Text(copyBytes)
		if out, errs, err := run(c, "cat", text); err != nil || !bytes.Equal(out, text) {
			t.Errorf("%d bytes, %v, want the %d that were sent\n%s", len(out), err, copyBytes, errs)
		}
		if err := <-alive; err != nil {
			t.Errorf("keep-alive: %v", err)
		}
	})
}

// Ports are forwarded both ways: connections of the client that the server dials, and connections to a port of the server,
// each with half-closes.
func TestSSHForward(t *testing.T) {
	const connections, copyBytes = 3, 512 << 10
	onSSH(t, func(t *testing.T, s side, c *ssh.Client) {
		text := testkit.Text(copyBytes)
		local := s.listen(t, "tcp")
		go echoAll(local)
		remote, err := c.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		go echoAll(remote)
		var wg sync.WaitGroup
		for range connections {
			wg.Go(func() {
				forwarded, err := c.Dial("tcp", local.Addr().String())
				if err != nil {
					t.Error(err)
					return
				}
				checkEcho(t, forwarded, text)
			})
			wg.Go(func() {
				direct, err := s.DialContext(watchdog(t), "tcp", remote.Addr().String())
				if err != nil {
					t.Error(err)
					return
				}
				checkEcho(t, direct, text)
			})
		}
		wg.Wait()
		if err := remote.Close(); err != nil {
			t.Error(err)
		}
		if _, err := c.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", freePort())); err == nil {
			t.Error("a connection to a port where nothing listens succeeds")
		}
	})
}

// echoAll echoes each connection until its end, and half-closes it.
func echoAll(ln net.Listener) {
	for {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			io.Copy(c, c)
			c.(interface{ CloseWrite() error }).CloseWrite()
		}()
	}
}

// checkEcho sends text, half-closes c, and expects text and the end. It closes c.
func checkEcho(t *testing.T, c net.Conn, text []byte) {
	defer c.Close()
	sent := make(chan error, 1)
	go func() {
		_, err := c.Write(text)
		sent <- errors.Join(err, c.(interface{ CloseWrite() error }).CloseWrite())
	}()
	got, err := io.ReadAll(c)
	if err != nil || !bytes.Equal(got, text) {
		t.Errorf("%d bytes, %v, want the %d that were sent", len(got), err, len(text))
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}
}

// When the server ends the connection in the middle of a session, everything that waits for it ends with an error.
func TestSSHServerEnds(t *testing.T) {
	onSSH(t, func(t *testing.T, _ side, c *ssh.Client) {
		session, err := c.NewSession()
		if err != nil {
			t.Fatal(err)
		}
		defer session.Close()
		ended := make(chan error, 1)
		go func() { ended <- c.Wait() }()
		// $PPID is the shell's parent: the process of sshd that has the connection.
		if err := session.Run("kill -KILL $PPID; sleep 3600"); err == nil {
			t.Error("the command succeeds after its connection has ended")
		}
		if err := <-ended; err == nil {
			t.Error("Wait returns nil, want an error")
		}
		if _, err := c.NewSession(); err == nil || strings.Contains(err.Error(), "timeout") {
			t.Errorf("NewSession: %v, want the error of a connection that has ended", err)
		}
	})
}
