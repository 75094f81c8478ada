//go:build !linux && !windows

package loop

var natives []*native
