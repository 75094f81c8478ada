package loop

import "github.com/pollux-io/pollux/internal/driver"

// Extras reports whether c has extras.
func (c *Conn) Extras() bool { return c.loadExtras() != nil }

// UpOf returns what the driver calls for c's stream. Only the loop may call it.
func UpOf(c *Conn) driver.StreamUpcalls { return c.stream.Up }
