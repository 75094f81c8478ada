package main

import (
	"runtime"
	"testing"
)

// skipServe skips tests of serve where it has not been made to work yet.
func skipServe(t *testing.T) {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("the executor is not proven on Windows yet, so serve is not tested there")
	}
}
