package sys

// MaxIovecs is how many buffers one vectored call takes: MSG_MAXIOVLEN of <sys/socket.h>, and
// IOV_MAX of Solaris.
const MaxIovecs = 16
