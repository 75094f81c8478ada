package parkhttp

import "testing"

func TestCheckX(t *testing.T) {
	n, err := checkNetHTTP()
	t.Log(n, err)
	if err != nil {
		t.Fatal(err)
	}
}
func BenchmarkCheck(b *testing.B) {
	for b.Loop() {
		check(serveNetHTTP)
	}
}
