package simnet

// Faults are what goes wrong at random on hosts; probabilities are from 0 to 1.
type Faults struct {
	// PartialReads and PartialWrites are the probability that a call on a stream transfers only a
	// part of what it could.
	PartialReads, PartialWrites float64
	// WouldBlock is the probability that a read, write or accept would block though it need not; an
	// event follows.
	WouldBlock float64
	// Resets is the probability, for each segment, that the connection is reset instead.
	Resets float64
}
