// Package interop tests that libraries written for package net work unchanged over package netconn: PostgreSQL drivers, SSH,
// WebSocket, HTTP/2, gRPC and Redis, with the real servers and clients of Debian where there are any. It is a module of its
// own, because the library may not require those libraries. The tests are for Linux, so that they are built once, and not for
// each system of the step cross.
//
// A test runs with package net, too (onSides): what it expects is what package net does. Start with
// side_linux_test.go and daemon_linux_test.go. `.ci/run libraries` installs the servers and runs all of it.
package interop
