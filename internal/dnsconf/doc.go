// Package dnsconf reads what configures name resolution on a machine: resolv.conf(5), the line hosts
// of nsswitch.conf(5), and hosts(5).
//
// Read first: [Source] in source.go, which keeps a current [Snapshot] without ever blocking its
// readers. The parsers are pure functions of a file's content: resolv.go and options.go, nsswitch.go,
// hosts.go. search.go has the names to ask for, by ndots and search list.
//
// A parser never fails: it takes what is valid, and reports the rest as a [Warning] with its line.
// What would change answers, but is not honoured, is listed in Resolv.Unsupported, or is a
// [Service] that is not Understood: the caller can then leave the lookup to the system.
//
// Differences from package net of Go, on purpose:
//
//   - "search ." means no search list, as in glibc, and not that of the hostname.
//   - LOCALDOMAIN and RES_OPTIONS are honoured, timeout and attempts have glibc's maximum.
//   - an option that lacks its number is ignored, and not taken as 0.
//   - no-tld-query and no-aaaa are understood.
//   - a name under .onion is not asked for with a suffix, either (RFC 7686).
//   - of several lines hosts of nsswitch.conf the last counts, as in glibc; their services are not joined.
//   - in the hosts file, "name" and "name." are one name, and an address is listed once for each name.
package dnsconf
