//go:build !solaris

package sys

// MaxIovecs is how many buffers one vectored call takes: enough for what a connection
// queues, few enough to lie on the stack. Linux and the BSDs take 1,024 (IOV_MAX).
const MaxIovecs = 64
