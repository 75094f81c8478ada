//go:build !unix && !windows

package doctor

func thisMachine() machine { return machine{files: noFiles{}} }

func kernel() string { return "unknown" }
