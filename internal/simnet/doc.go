// Package simnet is a network in memory: hosts with sockets, the links between them, a clock, and
// faults. Everything that is random comes from one seed. Package loop/looptest offers it to users,
// and internal/driver/sim is the driver of loops on it.
//
// Read sched.go first: when what runs, and why a run with the same seed is the same run. One lock,
// the Network's, guards everything in this package.
package simnet
