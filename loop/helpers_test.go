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

// complainsTo makes whatever a group complains of a failure of the test.
func complainsTo(t *testing.T) *slog.Logger { return slog.New(slog.NewTextHandler(complaints{t}, nil)) }

type complaints struct{ t *testing.T }

func (c complaints) Write(b []byte) (int, error) {
	c.t.Errorf("the group complains: %s", b)
	return len(b), nil
}
