package sim_test

import (
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/pollux-io/pollux/internal/driver"
	"github.com/pollux-io/pollux/internal/driver/sim"
)

// TestValidate sets each number of an Adversity to values that are out of range; the error names it.
func TestValidate(t *testing.T) {
	if err := (&sim.Adversity{}).Validate(); err != nil {
		t.Error("the zero Adversity: ", err)
	}
	a := all
	if err := a.Validate(); err != nil {
		t.Error(err)
	}
	fields := reflect.TypeFor[sim.Adversity]()
	for i := range fields.NumField() {
		f := fields.Field(i)
		refused := func(set func(v reflect.Value)) {
			t.Helper()
			a := sim.Adversity{}
			v := reflect.ValueOf(&a).Elem().Field(i)
			set(v)
			if err := a.Validate(); err == nil || !strings.Contains(err.Error(), f.Name) {
				t.Errorf("%s is %v: %v", f.Name, v, err)
			}
		}
		switch f.Type.Kind() {
		case reflect.Float64:
			for _, p := range []float64{-0.1, sim.MaxProbability + 0.01, math.NaN(), math.Inf(1)} {
				refused(func(v reflect.Value) { v.SetFloat(p) })
			}
		case reflect.Int:
			for _, n := range []int64{-1, driver.MaxLateBytes + 1} {
				refused(func(v reflect.Value) { v.SetInt(n) })
			}
		}
	}
}
