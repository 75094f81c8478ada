//go:build netbsd || openbsd

package sys

// EVFILT_USER is missing: see kqueue_user.go.
const (
	HasEvfiltUser = false
	EVFILT_USER   = 1000
	NOTE_TRIGGER  = 0
)
