//go:build !unix

// Watch needs named pipes, which this system does not have.
package main

import "log"

func main() { log.Fatal("this system has no named pipes that can be watched") }
