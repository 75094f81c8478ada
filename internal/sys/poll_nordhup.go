//go:build darwin || netbsd || openbsd || dragonfly || solaris

package sys

// POLLRDHUP is nothing: these systems report the peer's FIN by POLLIN, macOS by
// POLLHUP as well. (illumos has had a POLLRDHUP since 2021; older kernels do not know it.)
const POLLRDHUP = 0
