package interop

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/testkit"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// watchdog returns a context that ends a test that hangs. A cleanup may call it, too.
func watchdog(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), testkit.Watchdog)
	t.Cleanup(cancel)
	return ctx
}

// A daemon is a server of Debian, as a process of this test.
type daemon struct {
	dir     string // its files; removed at the end
	log     string // path
	process *os.Process
	exited  chan struct{} // closed when process has ended
}

// daemons are those that TestMain ends: the tests of one program share its server.
var daemons struct {
	mu  sync.Mutex
	all []*daemon
}

func TestMain(m *testing.M) {
	code := m.Run()
	for _, d := range daemons.all {
		d.stop()
	}
	os.Exit(code)
}

// program returns the path of a program, or skips the test. Debian has servers in folders that are not in the PATH of users.
func program(t *testing.T, name string, folders ...string) string {
	t.Helper()
	candidates := []string{name}
	for _, folder := range append(folders, "/usr/sbin") {
		matches, _ := filepath.Glob(filepath.Join(folder, name))
		candidates = append(candidates, matches...)
	}
	for _, c := range candidates {
		if path, err := exec.LookPath(c); err == nil {
			return path
		}
	}
	t.Skipf("%s is not installed; .ci/run libraries installs it", name)
	return ""
}

// newDaemon returns a daemon with an empty folder, which belongs to the user as whom its processes run.
func newDaemon(owner *syscall.Credential) (*daemon, error) {
	dir, err := os.MkdirTemp("", "pollux")
	if err != nil {
		return nil, err
	}
	d := &daemon{dir: dir, log: filepath.Join(dir, "log")}
	daemons.mu.Lock()
	daemons.all = append(daemons.all, d)
	daemons.mu.Unlock()
	if owner != nil {
		err = os.Chown(dir, int(owner.Uid), int(owner.Gid))
	}
	return d, err
}

// unprivileged returns the credentials of nobody, for servers that refuse to run as root, or nil if this is not root.
func unprivileged() (*syscall.Credential, error) {
	if os.Getuid() != 0 {
		return nil, nil
	}
	nobody, err := user.Lookup("nobody")
	if err != nil {
		return nil, err
	}
	uid, err := strconv.ParseUint(nobody.Uid, 10, 32)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.ParseUint(nobody.Gid, 10, 32)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, err
}

// start starts the server, and returns when ready does so, or with an error.
func (d *daemon) start(owner *syscall.Credential, ready func() bool, command ...string) error {
	out, err := os.OpenFile(d.log, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer out.Close()
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = d.dir, out, out
	// Pdeathsig is for tests that are killed. The kernel sends it when the thread that has started the process ends, so
	// that one is kept until the process has ended.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL, Credential: owner}
	started, exited := make(chan error), make(chan struct{})
	go func() {
		runtime.LockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait()
			close(exited)
		}
	}()
	if err := <-started; err != nil {
		return err
	}
	d.process, d.exited = cmd.Process, exited
	alive := true
	if testkit.Eventually(func() bool {
		select {
		case <-exited:
			alive = false
		default:
		}
		return !alive || ready()
	}) && alive {
		return nil
	}
	log, _ := os.ReadFile(d.log)
	return fmt.Errorf("%v is not ready (its process has ended: %t):\n%s", command, !alive, log)
}

// maxStopTime is how long a server may take to end by SIGQUIT.
const maxStopTime = 20 * time.Second

// stop ends the server at once, by SIGQUIT if it ends its own processes then, and removes its files.
func (d *daemon) stop() {
	if d.process != nil {
		d.process.Signal(syscall.SIGQUIT)
		select {
		case <-d.exited:
		case <-time.After(maxStopTime):
		}
		syscall.Kill(-d.process.Pid, syscall.SIGKILL) // the rest of its group
		<-d.exited
	}
	os.RemoveAll(d.dir)
}

// maxStarts is how many ports are tried: another process may take a port between its choice and its use.
const maxStarts = 5

// startOnce returns a function that starts a server at its first call, and skips or fails the test that calls it if there is
// none. start gets a free port of loopback.
func startOnce[T any](start func(t *testing.T, port int) (T, error)) func(t *testing.T) T {
	var mu sync.Mutex
	var server *T
	return func(t *testing.T) T {
		t.Helper()
		mu.Lock()
		defer mu.Unlock()
		for attempt := 1; server == nil; attempt++ {
			s, err := start(t, freePort())
			if err == nil {
				server = &s
			} else if attempt == maxStarts {
				t.Fatal(err)
			}
		}
		return *server
	}
}

func freePort() int {
	ln := must(net.Listen("tcp", "127.0.0.1:0"))
	defer ln.Close()
	return ln.Addr().(*net.TCPAddr).Port
}

// accepts returns a function that reports whether a server accepts connections at a port of loopback.
func accepts(port int) func() bool {
	return func() bool {
		c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			return false
		}
		c.Close()
		return true
	}
}

// run runs a program to its end, in the folder of the daemon.
func (d *daemon) run(owner *syscall.Credential, command ...string) error {
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Dir, cmd.SysProcAttr = d.dir, &syscall.SysProcAttr{Credential: owner}
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%v: %w:\n%s", command, err, out)
	}
	return nil
}
