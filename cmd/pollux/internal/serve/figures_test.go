package serve

import "testing"

func TestFigures(t *testing.T) {
	for n, want := range map[float64]string{0: "0", 999: "999", 1000: "1.0k", 1234567: "1.2M", 5e18: "5.0E", 5e22: "50000.0E"} {
		if got := count(n); got != want {
			t.Errorf("%v: %s, not %s", n, got, want)
		}
	}
	if got := busy([]float64{0, 0.5, 1}); got != "0% 50% 100%" {
		t.Error(got)
	}
	if got := busy(make([]float64, maxBusyShown+1)); got != "0% to 0%" {
		t.Error(got)
	}
}
