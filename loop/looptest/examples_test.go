package looptest_test

import (
	"testing"

	"github.com/pollux-io/pollux/internal/testkit"
)

// t is the parameter of the test functions in the examples.
var t *testing.T

// The examples pass, and leave no goroutine.
func TestExamples(t *testing.T) {
	for name, f := range map[string]func(t *testing.T){
		"partial message": testPartialMessage, "reset at every byte": testResetAtEveryByte, "slow reader": testSlowReader,
		"timeout": testTimeout, "partition": testPartition, "manual clock": testManualClock, "http": testHTTP,
	} {
		t.Run(name, func(t *testing.T) {
			testkit.CheckLeaks(t)
			f(t)
		})
	}
}
