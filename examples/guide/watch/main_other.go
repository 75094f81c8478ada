//go:build !unix

// Watch needs named pipes, which this system does not have.
package main

import "log"

func main() { log.Fatal("watch needs named pipes, which this system does not have") }
