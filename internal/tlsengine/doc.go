// Package tlsengine has crypto/tls work for an event loop: without a socket, and after the handshake without a
// goroutine. It changes bytes only; who receives and sends them is its user's matter.
//
// A Conn has two phases:
//
//   - The handshake runs on a goroutine, as crypto/tls cannot interrupt one. Feed gives it what was received, Notify
//     reports that Step has something to return: output, the wish for more input, the end. A Pool bounds the goroutines
//     that compute, and the handshakes in progress, so that clients which stall keep no others from theirs.
//   - Afterwards the caller passes whole records to Receive, and plaintext to Send. Both run on the caller's goroutine
//     and never wait.
//
// crypto/tls is given one record for each Read. So it never reads ahead, and its buffers are empty after each record.
// In the mode InPlace they do not even exist: the record is decrypted in the caller's memory. inplace.go has the
// mechanism, selfcheck.go what it relies on.
//
// Keys, ciphers, sequence numbers and alerts belong to crypto/tls: no code here touches them.
package tlsengine
