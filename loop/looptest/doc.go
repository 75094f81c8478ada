// Package looptest tests handlers of package loop on a simulated network: hosts, links and a clock in
// memory. Nothing of it reaches the operating system. It has the faults that are rare on a real network
// (partial reads and writes, resets, partitions, crashes of hosts, lack of descriptors), it takes no real
// time, and one number, the seed, repeats a run.
//
// Pipe gives a handler its connection; the test plays the peer:
//
//	func TestGreeting(t *testing.T) {
//		synctest.Test(t, func(t *testing.T) {
//			peer := looptest.Pipe(t, func(*loop.Conn) loop.Handler { return greeter{} })
//			io.WriteString(peer, "castor\n")
//			line, err := bufio.NewReader(peer).ReadString('\n')
//			…
//		})
//	}
//
// New makes a network for more than that. Groups run on its hosts (Host.NewGroup, or
// loop.Config.Network), and Listen, Dial and ListenPacket of a Group work as always: TCP, Unix streams
// and UDP. The methods of Host with those names make ends for the test itself, as a net.Listener, a
// net.Conn and a net.PacketConn, on which also an http.Server, a client library or package crypto/tls
// may sit.
//
//   - A Link has latency, jitter, a bandwidth, loss, and the lengths of segments. The zero Link delivers
//     at once.
//   - Faults go wrong at random, by the seed.
//   - A rule (Network.SetRule) decides about single segments: to reset a connection after a certain byte,
//     to refuse connections, or to let them time out.
//   - Network.Partition and Network.PartitionOneWay separate hosts, and Host.Crash leaves their peers
//     with half-open connections. Host.SetMaxDescriptors makes EMFILE.
//   - Adversity delivers events to loops in other orders and pieces than usual, but as io_uring or IOCP
//     may.
//
// # The clock
//
// In a bubble of testing/synctest, the clock of the network is that of the bubble. It moves when each
// goroutine of the bubble waits, so a timeout takes no real time, and comes within a few milliseconds of its time. Create
// the network inside the bubble. Work takes no time, except that each turn of a loop, and each call of
// a Conn that has to wait, takes a nanosecond. So time.Sleep is how a test lets the loops do what
// they have to do; after synctest.Wait alone, they may have something to do a nanosecond later. For the
// race detector time.Sleep is no synchronization: a test that reads what a callback has written calls
// synctest.Wait after it, or gets the value from a channel.
//
// With Config.Manual, the test moves the clock, by Network.Advance and Network.AdvanceUntil. That needs
// no bubble, but only what happens on the network is simulated: time.Now and time.AfterFunc are not.
//
// Otherwise the clock is the machine's, and latency takes its time.
//
// # The seed
//
// In a bubble, the same seed is the same run, on each machine: the trace of a failed test shows what
// happened, and the environment variable POLLUX_SEED (SeedEnv) repeats it. Loops, calls of a Conn, and
// functions of loop.Offload that return, have their places in an order that the seed determines. That
// holds as long as the test itself is deterministic:
//
//   - It does not use the real clock, math/rand without a seed, or the order of a map or of a select with
//     several ready cases.
//   - Goroutines that call Dial, Listen or ListenPacket of one host at the same instant do not use the same
//     address: which of them comes first is random. Start them a nanosecond apart (time.Sleep), or dial
//     before they are started.
//   - Goroutines of the test call methods of package loop while the loops wait. One that a callback wakes,
//     by a channel, runs beside the rest of that callback: time.Sleep(1) is enough to be after it.
//
// With Config.Manual, and without a bubble, goroutines run concurrently, and only the random numbers are
// the same.
//
// A test tries many seeds in a loop:
//
//	for seed := range uint64(100) {
//		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { … looptest.Config{Seed: seed, …} … })
//	}
//
// # Misuse
//
// As in package loop, a function without an error result panics if an argument is out of its range, with a
// message that begins with "looptest: ". The zero values of the types other than Config, Link, Faults,
// Adversity, Segment and Verdict are not usable.
package looptest
