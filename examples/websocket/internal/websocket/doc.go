// Package websocket is the WebSocket protocol (RFC 6455) without I/O: the opening handshake, a
// Reader that finds messages in received bytes wherever these are cut, and functions that append
// frames to a buffer. Extensions and subprotocols are not negotiated.
//
//   - frame.go: opcodes and the header of a frame;
//   - reader.go: messages from frames;
//   - text.go: UTF-8 that arrives in pieces;
//   - close.go: close codes and errors;
//   - request.go, response.go: the opening handshake, as servers and as clients see it.
package websocket
