// Package simnet is a network in memory: hosts with sockets, the links between them, a clock, and
// faults. Everything that is random comes from one seed. Package loop/looptest offers it to users,
// and internal/driver/sim is the driver of loops on it.
//
// Read sched.go first: when what runs, and why a run with the same seed is the same run. Then packet.go
// and transmit.go: whatever one socket does that another one notices is a packet, and all packets pass
// one function, in which partitions, rules, faults and links apply. One lock, the Network's, guards
// everything in this package; functions that are called with it held end in Locked.
//
//	network.go, sched.go, events.go   the clock, and what happens when
//	lock.go                           the lock
//	host.go, ports.go                 hosts: a sys.Kernel; addresses, ports and names
//	socket.go, option.go              sockets: a sys.VirtualSocket; their options
//	stream.go, queue.go               how bytes pass through TCP and Unix streams
//	connect.go, ending.go, timers.go  how connections begin and end
//	udp.go, multicast.go              datagrams
//	packet.go, transmit.go, lost.go   what travels, and how; retransmission
//	link.go, rule.go, fault.go        delays and losses, verdicts of a test, random faults
//	trace.go                          the last lines of what happened
//	end.go, conn.go, packetconn.go    blocking ends: net.Conn, and others, for goroutines
//	listener.go, dial.go
//	drive.go, inspect.go              what the driver of a loop, and tests, need beside sockets
//
// The sockets behave as Linux's. The tests make the same calls on both, those of tables and random
// ones, and compare all results. What differs: a connection ends without TIME_WAIT; a socket whose
// connection has ended cannot be connected again; urgent data does not interrupt reads; buffers do not
// grow by themselves; SO_LINGER with a time does not wait.
package simnet
