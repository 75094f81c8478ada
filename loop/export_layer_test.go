package loop

import "github.com/pollux-io/pollux/internal/driver"

// HasExtras reports whether c has extras.
func HasExtras(c *Conn) bool { return c.loadExtras() != nil }

// UpcallsOf returns what the driver calls for c's stream. Only the loop may call it.
func UpcallsOf(c *Conn) driver.StreamUpcalls { return c.stream.Up }
