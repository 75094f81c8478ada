package simtest

import (
	"github.com/pollux-io/pollux/internal/driver/sim"
	"github.com/pollux-io/pollux/internal/handle"
	"github.com/pollux-io/pollux/internal/simnet"
	"github.com/pollux-io/pollux/sock"
)

// adversities is the number of levels of adversity of the groups' drivers.
const adversities = 8

// adversity returns what the drivers do that the kernels' seldom do. Level 0 is nothing, and the last is
// everything at once.
func adversity(level int) sim.Adversity {
	const half = 0.5
	return [adversities]sim.Adversity{
		{},
		{AsyncSend: true, AsyncConnect: true},
		{AsyncSend: true, PartialSends: half, EmptySends: half},
		{PartialReceives: half, LateBytes: 64 << 10},
		{Shuffle: true, Delays: half},
		{HeldAccepts: 16, DelayedReleases: half},
		{EarlyTurns: half, SpoilMemory: true},
		{
			AsyncSend: true, AsyncConnect: true, PartialSends: half, EmptySends: half, PartialReceives: half, LateBytes: 16 << 10, HeldAccepts: 2,
			Shuffle: true, Delays: half, DelayedReleases: half, EarlyTurns: half, SpoilMemory: true,
		},
	}[level]
}

// hosted is a sock.Network.
type hosted struct{ handle.Hosted }

// hostNetwork returns a simulated host as the network of groups.
func hostNetwork(h *simnet.Host, level int) sock.Network {
	x := &hosted{}
	handle.SetKernel(&x.Hosted, sim.NewHost(h, adversity(level)))
	return x
}
