//go:build !linux

package main

// usageOf returns zero: only Linux reports the memory that is a process's own.
func usageOf(int) usage { return usage{} }

// maxDescriptors returns 0: the limit is not known.
func maxDescriptors() int { return 0 }
