//go:build !windows

package report

import "os"

// echoes: a terminal echoes ^C.
const echoes = true

// control reports whether f understands control sequences.
func control(*os.File) bool { return true }
