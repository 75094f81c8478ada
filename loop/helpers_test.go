package loop_test

import (
	"io"
	"log/slog"
	"testing"

	"github.com/pollux-io/pollux/internal/sys"
)

// quiet drops what a test makes a group complain of.
func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

// skipOnWine skips what Wine lacks.
func skipOnWine(t *testing.T, why string) {
	t.Helper()
	if sys.OnWine() {
		t.Skip("skipped under Wine: " + why)
	}
}
