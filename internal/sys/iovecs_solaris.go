package sys

// MaxIovecs is the maximum number of buffers of one vectored call: MSG_MAXIOVLEN of
// <sys/socket.h>, and IOV_MAX of Solaris.
const MaxIovecs = 16
