//go:build darwin || netbsd || openbsd || dragonfly || solaris

package sys

// POLLRDHUP is 0: these systems report the peer's FIN by POLLIN, macOS by POLLHUP as well.
// (illumos has POLLRDHUP since 2021; older kernels do not.)
const POLLRDHUP = 0
