package driver

import "io"

// Flags of a stream that every driver has. A driver's own begin at OwnStreamFlag.
const (
	Receiving       = 1 << iota // between Resume and Pause
	Connecting                  // Connected must follow
	Ended                       // ReceiveEnded was called
	Gone                        // Release or Detach was called
	Attached                    // in the driver's table
	Busy                        // in Base.Busy
	Failed                      // the system has reported a failure that Failed has not
	FailureReported             // by Connected, Failed or ReceiveEnded
	OwnStreamFlag
)

// Flags of a listener.
const (
	Paused    = 1 << iota // by PauseAccept or before AcceptFailed
	Listed                // in the driver's table
	Unlisted              // Unlisten was called
	Accepting             // in Base.Accepting
)

// MissesFailure reports whether no receive will find that the connection has failed: the stream is
// paused, or ReceiveEnded was called.
func (s *Stream) MissesFailure() bool { return s.Flags&(Receiving|Ended) != Receiving }

// ReportConnected calls Connected with the result of Connect.
func (s *Stream) ReportConnected(err error) {
	s.Flags &^= Connecting
	if err != nil {
		s.Flags |= FailureReported
	}
	s.Up.Connected(err)
}

// ReportReceiveEnded calls ReceiveEnded.
func (s *Stream) ReportReceiveEnded(err error) {
	s.Flags = s.Flags&^Receiving | Ended
	if err != io.EOF {
		s.Flags |= FailureReported
	}
	s.Up.ReceiveEnded(err)
}

// ReportFailed calls Failed.
func (s *Stream) ReportFailed(err error) {
	s.Flags |= FailureReported
	s.Up.Failed(err)
}
