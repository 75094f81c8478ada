package dnsconf

import (
	"os"
	"path/filepath"
)

// DefaultPaths returns where the files of this system are. Windows has only a hosts file.
func DefaultPaths() Paths {
	root := os.Getenv("SystemRoot")
	if root == "" {
		root = `C:\Windows`
	}
	return Paths{Hosts: filepath.Join(root, "System32", "drivers", "etc", "hosts")}
}
