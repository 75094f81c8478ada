// Package exchange asks DNS servers over sockets on a loop: it is the part of package dns between a question and the
// response of one of the servers.
//
// An Exchanger serves one loop. Ask starts a Query, with a Policy that has the servers; its Reply has the response or an
// error, and the attempts that have failed. Package dns chooses the names to ask for, caches responses, and shares queries between
// lookups.
//
// To begin, read query.go: a query is a sequence of attempts, each at one server. What an attempt sends is a transmission
// (transmission.go), which responses can make go on in another way: over TCP, without EDNS, or alone on a socket.
// From there the layers are:
//
//   - exchanger.go, alarms.go: the queries in progress, the delivery of replies, the timers;
//   - udp.go, outbox.go, receive.go, idtable.go: UDP sockets, what they send and receive in a turn, and what is in flight;
//   - tcp.go: TCP connections;
//   - server.go, health.go, queue.go, stats.go: what is known of a server: whether it responds, what it does not do as it
//     should, which queries wait for it, and its counters.
//
// Three rules hold everywhere. A message that does not match a query in address, port, ID, question and case ends nothing.
// Responses may not make a query go on for ever: each way is taken once, and attempts are counted. And nothing can
// reach a query that has ended: Cancel and end take its transmissions off all sockets.
package exchange
