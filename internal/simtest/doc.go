// Package simtest runs random programs of operations on package loop, over a simulated network, and
// checks them against a model. It has tests only:
//
//	go test ./internal/simtest                       a few hundred programs
//	go test ./internal/simtest -sim.seeds 5000       more
//	go test ./internal/simtest -sim.seed 7 -v        the program of one seed
//
// A seed determines a program: hosts, links, faults, groups, connections, and steps in simulated time
// (program_test.go, draw_test.go). It runs in a bubble of testing/synctest, so a run repeats exactly, and
// hours of simulated time pass in milliseconds. A program that fails is shrunk (shrink_test.go).
//
// What is checked, in every callback and at the end (end_test.go, check_test.go):
//
//   - each byte that is received is the next one of its stream, and none is missing at the end unless
//     something that the program did may lose it;
//   - the order of callbacks, and that one runs at a time;
//   - timers and timeouts are not early, and not late;
//   - everything ends, in bounded simulated time, and returns what it has used: descriptors,
//     buffers, goroutines.
//
// Steps are made by one goroutine, the script; it and the peers' goroutines wait as actors of the
// network, so that the seed determines their order, too.
package simtest
