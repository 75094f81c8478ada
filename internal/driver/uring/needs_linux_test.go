package uring

import (
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"
)

func TestNeeds(t *testing.T) {
	for e, want := range map[syscall.Errno]string{
		syscall.EINVAL: "Linux 6.0 is needed", syscall.EPERM: "seccomp", syscall.ENOSYS: "seccomp", syscall.ENOMEM: "", syscall.EMFILE: "", syscall.ENFILE: "",
	} {
		err := needs("Linux 6.0", os.NewSyscallError("io_uring_register", e))
		if !errors.Is(err, e) || !strings.Contains(err.Error(), want) || want == "" && strings.Contains(err.Error(), "Linux") {
			t.Errorf("%v: %v", e, err)
		}
	}
}
