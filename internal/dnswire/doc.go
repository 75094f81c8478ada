// Package dnswire encodes DNS queries, and decodes responses that may be forged or malformed.
//
// Read first: [Parse] in response.go, the only place that decides which records of a message are an
// answer to a question. [Match] in match.go is the check before it: whether a datagram belongs to a
// query at all. reader.go has all access to the octets of a message.
//
// A response is untrusted. So:
//
//   - Only records on the chain of CNAMEs from the name of the question are returned, only of the
//     class IN, of the type of the question. Others are dropped and counted.
//   - A record of an answer that is malformed, such as an A record whose RDLENGTH is not 4, makes the
//     message malformed: half of an answer is not an answer.
//   - Compression pointers must point backwards, chains of CNAMEs have at most [MaxChain] elements,
//     and time and memory are linear in the length of the message, which is at most [MaxMessageBytes].
//
// The package does not use golang.org/x/net/dns/dnsmessage, with which its tests compare it.
// dnsmessage represents names as text without escapes, and fails on a whole message if a label
// of it contains a dot, as labels of service instances (RFC 6763) and of mailboxes in SOA records
// do. It also ignores RDLENGTH of A and AAAA records.
//
// All functions may be called from any goroutine; they keep no state and perform no I/O.
package dnswire
