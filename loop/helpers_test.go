package loop_test

import (
	"io"
	"log/slog"
)

// quiet drops what a test makes a group complain of.
func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }
