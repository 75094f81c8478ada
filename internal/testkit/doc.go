// Package testkit has what tests of several packages need: whether the race detector is on, long
// runs, counts of goroutines and descriptors, a limit on descriptors, tests in a child process,
// waiting for a condition, and the reasons to skip.
//
// Only tests and the packages that tests are made of import it (the conformance suites, and test
// servers of the programs); .ci/run checks that. It knows nothing of queues, sockets or loops:
// it imports internal/sys alone, so that tests of every package above that can use it. What
// only one package's tests need stays in that package.
//
// Start with leak.go, which most suites use.
package testkit
