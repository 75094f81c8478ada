//go:build !windows

package save

import "os"

// remove removes a file of root.
func remove(root *os.Root, name string) error { return root.Remove(name) }
