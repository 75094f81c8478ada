// Package sim is a driver over the sockets of a simulated host (internal/simnet).
//
// Without an Adversity it is the simplest driver that keeps the contract of internal/driver: what a
// method requests happens within the call, and readiness is reported as it changes. With one, it
// does at random what the contract allows and the real drivers do seldom or never, so that a loop that
// depends on anything else fails. Read Turn first, then Adversity.
package sim
