// Package dnstest tests package dns with the DNS servers that systems run: NSD, unbound and dnsmasq; and compares it
// with Go's own resolver, in a network namespace. It has tests only, and runs on Linux:
//
//	.ci/run dns                                       installs the servers, and fails if a test skips
//	go test ./internal/dnstest                        tests whose servers are missing skip
//	go test ./internal/dnstest -run Differential -v   the comparison, which needs root or user namespaces
//
// The servers are processes in the foreground, on loopback, whose configuration is in a temporary directory
// (daemon_linux_test.go). NSD has the zones (zone_linux_test.go), unbound asks NSD, and dnsmasq asks unbound.
package dnstest
