package dnstest

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/dnswire"
	"github.com/pollux-io/pollux/internal/testkit"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// A daemon is a DNS server, as a process of the user who runs the tests.
type daemon struct {
	addr    netip.AddrPort
	command []string
	log     string // path
	process *os.Process
	exited  chan struct{} // closed when process has ended
}

// path returns that of a program, or skips the test. Debian has servers in a folder that is not in the PATH of users.
func path(t testing.TB, program string) string {
	t.Helper()
	for _, name := range []string{program, "/usr/sbin/" + program, "/usr/local/sbin/" + program} {
		if p, err := exec.LookPath(name); err == nil {
			return p
		}
	}
	t.Skipf("%s is not installed; .ci/run dns installs it", program)
	return ""
}

// maxStarts is how many ports are tried: another process may take a port between its choice and its use.
const maxStarts = 5

// startDaemon starts a server on a free port of loopback. configure writes its files into dir, and returns its command.
func startDaemon(t *testing.T, configure func(dir string, addr netip.AddrPort) []string) *daemon {
	t.Helper()
	for attempt := 1; ; attempt++ {
		dir, addr := t.TempDir(), freePort(t)
		d := &daemon{addr: addr, command: configure(dir, addr), log: filepath.Join(dir, "log")}
		d.command[0] = copyProgram(t, d.command[0], dir)
		err := d.start(t)
		if err == nil {
			t.Cleanup(d.kill)
			return d
		}
		if attempt == maxStarts {
			t.Fatal(err)
		}
	}
}

// copyProgram copies a program: AppArmor confines unbound at its own path to the configuration of the system.
func copyProgram(t testing.TB, program, dir string) string {
	t.Helper()
	file := filepath.Join(dir, filepath.Base(program))
	if err := os.WriteFile(file, must(os.ReadFile(program)), 0o700); err != nil {
		t.Fatal(err)
	}
	return file
}

// freePort returns an address of loopback with a port that neither UDP nor TCP uses.
func freePort(t testing.TB) netip.AddrPort {
	t.Helper()
	for range 20 {
		ln := must(net.Listen("tcp", "127.0.0.1:0"))
		pc, err := net.ListenPacket("udp", ln.Addr().String())
		ln.Close()
		if err == nil {
			pc.Close()
			return netip.MustParseAddrPort(ln.Addr().String())
		}
	}
	t.Fatal("no port is free for both TCP and UDP")
	panic("unreachable")
}

// start starts the process, and returns when the server answers, or with an error.
func (d *daemon) start(t testing.TB) error {
	out := must(os.OpenFile(d.log, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600))
	defer out.Close()
	cmd := exec.Command(d.command[0], d.command[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = filepath.Dir(d.log), out, out
	// NSD has several processes: they are one group, so that they end together. Pdeathsig is for tests that are killed.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return err
	}
	exited := make(chan struct{})
	d.process, d.exited = cmd.Process, exited
	go func() {
		_ = cmd.Wait()
		close(exited)
	}()
	alive := true
	ready := testkit.Eventually(func() bool {
		select {
		case <-exited:
			alive = false
			return true
		default:
			return answers(d.addr)
		}
	})
	if ready && alive {
		return nil
	}
	d.kill()
	log, _ := os.ReadFile(d.log)
	return fmt.Errorf("%v: not ready at %v (its process has ended: %t):\n%s", d.command, d.addr, !alive, log)
}

// answers asks a server for the root, and reports whether it answers, whatever it does.
func answers(addr netip.AddrPort) bool {
	const wait = 100 * time.Millisecond // Eventually asks again
	query := must(dnswire.AppendQuery(nil, 1, dnswire.Question{Name: dnswire.Root, Type: dnswire.TypeNS}, dnswire.QueryOptions{}))
	c, err := net.Dial("udp", addr.String())
	if err != nil {
		return false
	}
	defer c.Close()
	if _, err := c.Write(query); err != nil {
		return false
	}
	if err := c.SetReadDeadline(time.Now().Add(wait)); err != nil {
		return false
	}
	_, err = c.Read(make([]byte, dnswire.MinUDPBytes))
	return err == nil
}

// signal sends a signal to all processes of the server.
func (d *daemon) signal(s syscall.Signal) { _ = syscall.Kill(-d.process.Pid, s) }

// kill ends the server as a crash does, and waits until its ports are free. More calls do nothing.
func (d *daemon) kill() {
	select {
	case <-d.exited:
		return
	default:
	}
	d.signal(syscall.SIGKILL)
	<-d.exited
}
