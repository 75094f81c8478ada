package loop_test

import (
	"os"
	"sync/atomic"
	"testing"

	"github.com/pollux-io/pollux/internal/driver"
	"github.com/pollux-io/pollux/internal/driver/layertest"
	"github.com/pollux-io/pollux/loop"
)

// layerEnv makes all tests run with a layer below each connection: one that keeps the bytes, as the other
// end may have none, and does at random what the contract of driver.Layer allows.
const layerEnv = "POLLUX_TEST_LAYER"

// needsDetach is why a test cannot run with a layer.
const needsDetach = "a connection with a layer cannot be detached"

var layers atomic.Uint64

func withLayers() bool { return os.Getenv(layerEnv) != "" }

// chooseLayer applies layerEnv.
func chooseLayer() {
	if !withLayers() {
		return
	}
	loop.WrapHandlers(func(h loop.Handler) loop.Handler {
		if _, ok := h.(*withLayer); ok {
			return h
		}
		return &withLayer{Handler: h, options: layertest.Options{Seed: layers.Add(1), Adverse: true, Whole: 512}}
	})
}

// skipWithLayer skips a test that cannot run with a layer.
func skipWithLayer(t testing.TB, reason string) {
	t.Helper()
	if withLayers() {
		t.Skip("with a layer: " + reason)
	}
}

// withLayer is a handler above a layer of package layertest.
type withLayer struct {
	loop.Handler
	options layertest.Options
	asked   func() // called by Inner
}

func (h *withLayer) NewLayer(_ *loop.Conn, above driver.Above) driver.Layer {
	return layertest.New(above, h.options)
}

func (h *withLayer) Inner() loop.Handler {
	if h.asked != nil {
		h.asked()
	}
	return h.Handler
}
