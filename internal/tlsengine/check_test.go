package tlsengine

import (
	"testing"
)

func TestSelfCheckFindsInPlaceOnThisGo(t *testing.T) {
	if m, err := CurrentMode(); m != InPlace || err != nil {
		t.Fatalf("%v: %v", m, err)
	}
}

func BenchmarkSelfCheck(b *testing.B) {
	for b.Loop() {
		if err := selfCheck(nil); err != nil {
			b.Fatal(err)
		}
	}
}
