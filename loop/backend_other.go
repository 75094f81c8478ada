//go:build !linux

package loop

var natives []native
