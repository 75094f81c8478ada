//go:build darwin || netbsd || openbsd || dragonfly

package sys

// POLLRDHUP is nothing: these systems tell of the peer's FIN by POLLIN, macOS by
// POLLHUP as well.
const POLLRDHUP = 0
