//go:build !solaris

package sys

// MaxIovecs is the maximum number of buffers of one vectored call: enough for the send
// queue of a connection, few enough for the stack. Linux and the BSDs accept 1,024
// (IOV_MAX).
const MaxIovecs = 64
