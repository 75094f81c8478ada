// Package dns resolves names to addresses and other records, without blocking a loop of package
// loop.
//
// A Resolver answers from the nearest source that has the answer, and every Answer and Error states
// which one that was (Path):
//
//   - inline: literal addresses, localhost, the hosts file, and the cache, without a system call;
//   - evented: DNS servers, as resolv.conf(5) configures them, over sockets on the loop;
//   - pool: the system's resolver, on a bounded number of goroutines, for what it alone knows.
//
// Strategy chooses between the latter two; Auto decides for each name as nsswitch.conf(5) and
// resolv.conf(5) demand. Resolver.Explain returns which source a name has, and why.
//
// Lookup waits, unless the answer is known inline; LookupFunc calls back on a loop. Lookups of one name at the same
// time have one query, and each can be canceled alone. If the loop that carries the query ends, another one starts it
// again.
//
// Some names are not asked for: those under localhost are this machine, those under .invalid and .onion do not exist (RFC
// 6761, RFC 7686), unless the hosts file has them, and what looks like an address but is none, such as 127.1 or 1.2.3.4.,
// is an error.
//
// Responses are matched by address, port, ID, type, class, and the name in a random case; what does not match is
// dropped, and the lookup goes on. Answers that are too long for UDP are asked for again over TCP.
package dns
