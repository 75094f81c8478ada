// Package layered is how the package of a layer, such as tlsconn, finds the layer of a connection.
// Package loop is above internal packages and below that one, and its exported API mentions no internal
// type, so no method of a connection can return it.
package layered

import "github.com/pollux-io/pollux/internal/driver"

// Of returns the layer of a *loop.Conn once it was made, also after the connection has ended; nil if
// the connection has none. Any goroutine may call it. It panics if conn is something else. Package
// loop sets it.
var Of func(conn any) driver.Layer
