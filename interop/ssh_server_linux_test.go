package interop

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/pollux-io/pollux/internal/testkit"
)

// exitStatus is what commands of the server of the tests return.
const exitStatus = 7

// serveSSH serves connections until the listener is closed: a session echoes its input, and the command as error output.
func serveSSH(t *testing.T, ln net.Listener, config *ssh.ServerConfig) (wait func()) {
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				if err := serveSSHConn(c, config); err != nil {
					t.Errorf("the server: %v", err)
				}
			})
		}
	})
	return wg.Wait
}

func serveSSHConn(c net.Conn, config *ssh.ServerConfig) error {
	conn, channels, requests, err := ssh.NewServerConn(c, config)
	if err != nil {
		return err
	}
	defer conn.Close()
	go ssh.DiscardRequests(requests)
	for offered := range channels {
		channel, requests, err := offered.Accept()
		if err != nil {
			return err
		}
		if err := serveSession(channel, requests); err != nil {
			return err
		}
	}
	return nil
}

func serveSession(channel ssh.Channel, requests <-chan *ssh.Request) error {
	defer channel.Close()
	for r := range requests {
		if r.Type != "exec" {
			if err := r.Reply(false, nil); err != nil {
				return err
			}
			continue
		}
		var command struct{ Text string }
		if err := errors.Join(ssh.Unmarshal(r.Payload, &command), r.Reply(true, nil)); err != nil {
			return err
		}
		if _, err := io.Copy(channel, channel); err != nil {
			return err
		}
		if _, err := io.WriteString(channel.Stderr(), command.Text); err != nil {
			return err
		}
		_, err := channel.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{exitStatus}))
		go ssh.DiscardRequests(requests)
		return err
	}
	return nil
}

// A server over a listener serves OpenSSH's client: megabytes both ways, error output and exit status, several at once.
func TestSSHServer(t *testing.T) {
	const clients, copyBytes = 2, 2 << 20
	client := program(t, "ssh")
	onSides(t, func(t *testing.T, s side) {
		host, _ := sshKey()
		user, userKey := sshKey()
		config := &ssh.ServerConfig{PublicKeyCallback: func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
			if !bytes.Equal(key.Marshal(), user.PublicKey().Marshal()) {
				return nil, errors.New("another key")
			}
			return nil, nil
		}}
		config.AddHostKey(host)
		ln := s.listen(t, "tcp")
		wait := serveSSH(t, ln, config)
		defer wait()
		defer ln.Close()
		dir := t.TempDir()
		port := ln.Addr().(*net.TCPAddr).Port
		known := fmt.Sprintf("[127.0.0.1]:%d %s", port, ssh.MarshalAuthorizedKey(host.PublicKey()))
		for name, content := range map[string]string{"key": string(userKey), "known": known} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		text := testkit.Text(copyBytes)
		var wg sync.WaitGroup
		for i := range clients {
			wg.Go(func() {
				name := fmt.Sprintf("command %d", i)
				cmd := exec.CommandContext(watchdog(t), client, "-F", "none", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-o", "LogLevel=ERROR",
					"-o", "UserKnownHostsFile="+filepath.Join(dir, "known"), "-i", filepath.Join(dir, "key"), "-p", fmt.Sprint(port), "pollux@127.0.0.1", name)
				var out, errs bytes.Buffer
				cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(text), &out, &errs
				err := cmd.Run()
				if cmd.ProcessState.ExitCode() != exitStatus || !bytes.Equal(out.Bytes(), text) || !strings.Contains(errs.String(), name) {
					t.Errorf("client %d: %v, %d bytes, %q; want exit status %d, %d bytes, %q", i, err, out.Len(), errs.String(), exitStatus, len(text), name)
				}
			})
		}
		wg.Wait()
	})
}
