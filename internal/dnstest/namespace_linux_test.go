package dnstest

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// roleEnv names the environment variable with the role of a process of the tests: none, or one of those below.
const roleEnv = "POLLUX_DNSTEST_ROLE"

// Roles.
const (
	roleNamespace = "namespace" // in the namespaces of enterNamespace
	roleSide      = "side"      // makes lookups: sideMain
)

func TestMain(m *testing.M) {
	if os.Getenv(roleEnv) == roleSide {
		sideMain()
		return
	}
	os.Exit(m.Run())
}

// enterNamespace runs the test again in a process with a network and mounts of its own, where it is root: so it may
// listen at port 53, and replace the files of /etc. It returns true there, and false in the parent, when that process has ended and
// its result has been reported.
func enterNamespace(t *testing.T) bool {
	t.Helper()
	if os.Getenv(roleEnv) == roleNamespace {
		return true
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), roleEnv+"="+roleNamespace)
	// Unshareflags with CLONE_NEWNS make the mounts private, too.
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if os.Getuid() != 0 {
		cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	out, err := cmd.CombinedOutput()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Skipf("this user may not create namespaces of mounts and networks: %v", err)
	}
	if err != nil {
		t.Errorf("%v", err)
	}
	t.Logf("in the namespaces:\n%s", out)
	return false
}

// setUpNetwork makes loopback usable, and adds addresses of both families with networks, so that addresses differ in their order.
func setUpNetwork(t *testing.T) {
	t.Helper()
	ip := path(t, "ip")
	for _, args := range [][]string{
		{"link", "set", "lo", "up"},
		{"address", "add", "192.0.2.200/24", "dev", "lo"},
		{"address", "add", "2001:db8::200/64", "dev", "lo", "nodad"},
	} {
		if out, err := exec.Command(ip, args...).CombinedOutput(); err != nil {
			t.Fatalf("ip %v: %v: %s", args, err, out)
		}
	}
}

// mountEtc replaces /etc by dir, for this process and those that it starts.
func mountEtc(t *testing.T, dir string) {
	t.Helper()
	if err := syscall.Mount(dir, "/etc", "", syscall.MS_BIND, ""); err != nil {
		t.Fatalf("mount %s at /etc: %v", dir, err)
	}
}

// setFiles makes the files of dir what a variant has. A file without content does not exist.
func setFiles(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for _, name := range []string{"resolv.conf", "nsswitch.conf", "hosts"} {
		if content, ok := files[name]; ok {
			write(t, dir, name, content)
			continue
		}
		if err := os.Remove(filepath.Join(dir, name)); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
	}
}
