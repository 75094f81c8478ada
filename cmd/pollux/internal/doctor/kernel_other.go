//go:build !unix && !windows

package doctor

func kernel() string { return "unknown" }
