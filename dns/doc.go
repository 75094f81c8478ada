// Package dns resolves names to addresses and other records, without blocking a loop of package
// loop.
//
// A Resolver answers from the nearest source that has the answer, and every Answer and Error states
// which one that was (Path):
//
//   - inline: literal addresses, localhost, the cache, and the hosts file, without a system call;
//   - evented: DNS servers, as resolv.conf(5) configures them, over sockets on the loop;
//   - pool: the system's resolver, on a bounded number of goroutines (on Windows without a thread each), for what
//     it alone knows.
//
// Strategy chooses between the latter two; Auto decides for each name as nsswitch.conf(5) and
// resolv.conf(5) demand. Resolver.Explain returns which source a name has, and why.
//
// Lookup waits, unless the answer is known inline; LookupFunc calls back on a loop; LookupInline does neither. Lookups of
// one name at the same time have one query, and each can be canceled alone. If the loop that carries the query ends,
// another one starts it again. A Dialer connects to names by Happy Eyeballs (RFC 8305), and NetResolver is for
// libraries that take a *net.Resolver.
//
// Some names are not asked for: those under localhost are this machine, those under .invalid and .onion do not exist (RFC
// 6761, RFC 7686), unless the hosts file has them. A name that ends in a number without being an address, such as 127.1 or
// 1.2.3.4., is an error. International names are looked up in their ASCII form (IDNA, UTS 46).
//
// Responses are matched by address, port, ID, type, class, and the name in a random case; what does not match is
// dropped, and the lookup goes on. Answers that are too long for UDP are asked for again over TCP. A server that
// does not respond costs one attempt (Config.Timeout), and later lookups ask it last.
//
// docs/names.md in the repository is the guide: errors, the cache, servers, limits, tests, and what differs from
// other resolvers.
package dns
