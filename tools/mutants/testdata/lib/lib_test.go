package lib

import (
	"os"
	"testing"
)

func TestSum(t *testing.T) {
	if n := Sum(1, 2); n != 3 {
		t.Errorf("Sum(1, 2) = %d", n)
	}
	for Sum(0, 0) != 0 { // a mutant may make it wait
	}
}

// TestTwice needs an argument from the environment.
func TestTwice(t *testing.T) {
	if os.Getenv("TWICE") == "checked" && Twice(2) != 4 {
		t.Errorf("Twice(2) = %d", Twice(2))
	}
}
