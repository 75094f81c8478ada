package main

import (
	"fmt"
	"strings"
)

// The cases of the Autobahn test suite (crossbario/autobahn-testsuite), with its numbers: all of its
// categories 1 to 10; 12 and 13 are about compression, which the server does not negotiate. The
// suite itself needs Python 2. Where it waits for a second in order to see that nothing happens,
// these cases send a ping, if one is allowed there, or run on the simulated clock.

// A testCase is what a client sends to /echo, and what it gets.
type testCase struct {
	number string
	steps  []step
	// codes are those that the server's Close frame may have at the end; 0 stands for none. If
	// closes is false, the client sends Close 1000 after the last step, and gets that back.
	closes bool
	codes  []uint16
}

// A step is what the client sends, and then gets before the next step.
type step struct {
	send [][]byte
	chop int // the client writes so many bytes at a time, or all if it is 0
	want []reply
}

const hello = "Hello, world!"

// echoes returns the case of a client that is answered, and then closes the connection itself.
func echoes(number string, chop int, send [][]byte, want ...reply) testCase {
	return testCase{number: number, steps: []step{{send, chop, want}}}
}

// fails returns the case of a client that gets want, and then Close with the code.
func fails(number string, code uint16, chop int, send [][]byte, want ...reply) testCase {
	return ends(number, []uint16{code}, chop, send, want...)
}

// ends returns the case of a client that gets want, and then Close with one of the codes.
func ends(number string, codes []uint16, chop int, send [][]byte, want ...reply) testCase {
	return testCase{number: number, steps: []step{{send, chop, want}}, closes: true, codes: codes}
}

func frames(f ...[]byte) [][]byte { return f }

// frameByFrame is a chop that writes each frame alone.
const frameByFrame = -1

func cases() (all []testCase) {
	for _, f := range []func() []testCase{framing, pings, reservedBits, opcodes, fragmentation, utf8Handling, utf8Sequences, closeHandling, limits, roundTrips} {
		all = append(all, f()...)
	}
	return all
}

// kinds are those of data: the payloads that the suite fills messages with.
var kinds = []struct {
	op   byte
	fill string
}{{opText, "*"}, {opBinary, "\xFE"}}

// 1: framing.
func framing() (all []testCase) {
	for k, kind := range kinds {
		for i, size := range []int{0, 125, 126, 127, 128, 65535, 65536, 65536} {
			chop := 0
			if i == 7 {
				chop = 997
			}
			payload := strings.Repeat(kind.fill, size)
			all = append(all, echoes(fmt.Sprintf("1.%d.%d", k+1, i+1), chop, frames(frame(fin|kind.op, payload)), reply{kind.op, payload}))
		}
	}
	return all
}

// 2: pings and pongs.
func pings() []testCase {
	const small, odd = hello, "\x00\xFF\xFE\xFD\xFC\xFB\x00\xFF"
	long := strings.Repeat("\xFE", 125)
	var ten [][]byte
	var pongs []reply
	for i := range 10 {
		payload := fmt.Sprint("payload-", i)
		ten, pongs = append(ten, frame(fin|opPing, payload)), append(pongs, reply{opPong, payload})
	}
	return []testCase{
		echoes("2.1", 0, frames(frame(fin|opPing, "")), reply{opPong, ""}),
		echoes("2.2", 0, frames(frame(fin|opPing, small)), reply{opPong, small}),
		echoes("2.3", 0, frames(frame(fin|opPing, odd)), reply{opPong, odd}),
		echoes("2.4", 0, frames(frame(fin|opPing, long)), reply{opPong, long}),
		fails("2.5", 1002, 0, frames(frame(fin|opPing, long+"\xFE"))),
		echoes("2.6", 1, frames(frame(fin|opPing, long)), reply{opPong, long}),
		echoes("2.7", 0, frames(frame(fin|opPong, ""))),
		echoes("2.8", 0, frames(frame(fin|opPong, "unsolicited pong payload"))),
		echoes("2.9", 0, frames(frame(fin|opPong, "unsolicited pong payload"), frame(fin|opPing, "ping payload")), reply{opPong, "ping payload"}),
		echoes("2.10", 0, ten, pongs...),
		echoes("2.11", 1, ten, pongs...),
	}
}

// 3: reserved bits.
func reservedBits() []testCase {
	ping, first := frame(fin|opPing, ""), reply{opText, hello}
	return []testCase{
		fails("3.1", 1002, 0, frames(frame(fin|1<<4|opText, hello))),
		fails("3.2", 1002, 0, frames(text(hello), frame(fin|2<<4|opText, hello), ping), first),
		fails("3.3", 1002, frameByFrame, frames(text(hello), frame(fin|3<<4|opText, hello), ping), first),
		fails("3.4", 1002, 1, frames(text(hello), frame(fin|4<<4|opText, hello), ping), first),
		fails("3.5", 1002, 0, frames(frame(fin|5<<4|opBinary, "\x00\xFF\xFE\xFD\xFC\xFB\x00\xFF"))),
		fails("3.6", 1002, 0, frames(frame(fin|6<<4|opPing, hello))),
		fails("3.7", 1002, 0, frames(frame(fin|7<<4|opClose, hello))),
	}
}

// 4: reserved opcodes, of data frames and of control frames.
func opcodes() (all []testCase) {
	for k, first := range []byte{3, 11} {
		for i := range byte(5) {
			number, payload, chop := fmt.Sprintf("4.%d.%d", k+1, i+1), "", 0
			if i == 1 || i == 3 || i == 4 {
				payload = "reserved opcode payload"
			}
			if i == 4 {
				chop = 1
			}
			reserved := frame(fin|(first+i), payload)
			if i < 2 {
				all = append(all, fails(number, 1002, 0, frames(reserved)))
				continue
			}
			all = append(all, fails(number, 1002, chop, frames(text(hello), reserved, frame(fin|opPing, "")), reply{opText, hello}))
		}
	}
	return all
}

// 5: fragmentation.
func fragmentation() (all []testCase) {
	const one, two = "fragment1", "fragment2"
	begin, end := frame(opText, one), frame(fin|opContinue, two)
	ping, pong := frame(fin|opPing, "ping payload"), reply{opPong, "ping payload"}
	whole := reply{opText, one + two}
	all = append(all,
		fails("5.1", 1002, 0, frames(frame(opPing, one), end)),
		fails("5.2", 1002, 0, frames(frame(opPong, one), end)),
	)
	for i, chop := range []int{0, frameByFrame, 1} {
		all = append(all,
			echoes(fmt.Sprint("5.", 3+i), chop, frames(begin, end), whole),
			echoes(fmt.Sprint("5.", 6+i), chop, frames(begin, ping, end), pong, whole),
			fails(fmt.Sprint("5.", 9+i), 1002, chop, frames(frame(fin|opContinue, "non-continuation payload"), text(hello))),
			fails(fmt.Sprint("5.", 12+i), 1002, chop, frames(frame(opContinue, "non-continuation payload"), text(hello))),
		)
	}
	continuation := func(first byte) [][]byte {
		return frames(frame(first|opContinue, one), frame(opText, two), frame(fin|opContinue, "fragment3"))
	}
	all = append(all,
		fails("5.15", 1002, 0, frames(begin, end, frame(opContinue, "fragment3"), text("fragment4")), whole),
		fails("5.16", 1002, 0, append(continuation(0), continuation(0)...)),
		fails("5.17", 1002, 0, append(continuation(fin), continuation(fin)...)),
		fails("5.18", 1002, 0, frames(begin, text(two))),
	)
	for i, chop := range []int{0, frameByFrame} {
		all = append(all, testCase{number: fmt.Sprint("5.", 19+i), steps: []step{
			{frames(begin, frame(opContinue, two), frame(fin|opPing, "pongme 1!")), chop, []reply{{opPong, "pongme 1!"}}},
			{
				frames(frame(opContinue, "fragment3"), frame(opContinue, "fragment4"), frame(fin|opPing, "pongme 2!"), frame(fin|opContinue, "fragment5")),
				chop,
				[]reply{{opPong, "pongme 2!"}, {opText, "fragment1fragment2fragment3fragment4fragment5"}},
			},
		}})
	}
	return all
}

// 7: the end.
func closeHandling() (all []testCase) {
	normal, ping := closing(1000, ""), frame(fin|opPing, "")
	const badText = "\xCE\xBA\xE1\xBD\xB9\xCF\x83\xCE\xBC\xCE\xB5\xED\xA0\x80\x65\x64\x69\x74\x65\x64"
	long := strings.Repeat("BAsd7&jh23", 256<<10/10+1)[:256<<10]
	reason := strings.Repeat("*", 123)
	all = []testCase{
		fails("7.1.1", 1000, 0, frames(text("Hello World!"), normal), reply{opText, "Hello World!"}),
		fails("7.1.2", 1000, 0, frames(normal, normal)),
		fails("7.1.3", 1000, 0, frames(normal, ping)),
		fails("7.1.4", 1000, 0, frames(normal, text("Hello World!"))),
		fails("7.1.5", 1000, 0, frames(frame(opText, "fragment1"), normal, frame(fin|opContinue, "fragment2"))),
		fails("7.1.6", 1000, 0, frames(text(long), text("Hello World!"), normal, ping), reply{opText, long}, reply{opText, "Hello World!"}),
		ends("7.3.1", []uint16{0, 1000}, 0, frames(frame(fin|opClose, ""))),
		fails("7.3.2", 1002, 0, frames(frame(fin|opClose, "a"))),
		fails("7.3.3", 1000, 0, frames(normal)),
		fails("7.3.4", 1000, 0, frames(closing(1000, "Hello World!"))),
		fails("7.3.5", 1000, 0, frames(closing(1000, reason))),
		fails("7.3.6", 1002, 0, frames(closing(1000, reason+"*"))),
		ends("7.5.1", []uint16{1002, 1007}, 0, frames(closing(1000, badText))),
		fails("7.13.1", 1002, 0, frames(closing(5000, ""))),  // the suite leaves it open what
		fails("7.13.2", 1002, 0, frames(closing(65535, ""))), // happens; here it is an error
	}
	for i, code := range []uint16{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999} {
		all = append(all, ends(fmt.Sprint("7.7.", i+1), []uint16{1000, code}, 0, frames(closing(code, ""))))
	}
	for i, code := range []uint16{0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999} {
		all = append(all, fails(fmt.Sprint("7.9.", i+1), 1002, 0, frames(closing(code, ""))))
	}
	return all
}

// 9.1 to 9.6: long messages; 10.1: automatic fragmentation.
func limits() (all []testCase) {
	for k, kind := range kinds {
		for i, size := range []int{64 << 10, 256 << 10, 1 << 20, 4 << 20, 8 << 20, 16 << 20} {
			payload := strings.Repeat(kind.fill, size)
			all = append(all, echoes(fmt.Sprintf("9.%d.%d", k+1, i+1), 0, frames(frame(fin|kind.op, payload)), reply{kind.op, payload}))
		}
		for i := range 9 { // fragments of 64 bytes to 4 MiB
			payload := strings.Repeat(kind.fill, 4<<20)
			all = append(all, echoes(fmt.Sprintf("9.%d.%d", k+3, i+1), 0, fragments(kind.op, payload, 64<<(2*i)), reply{kind.op, payload}))
		}
		for i := range 6 { // 64 bytes to 2 KiB at a time
			payload := strings.Repeat(kind.fill, 1<<20)
			all = append(all, echoes(fmt.Sprintf("9.%d.%d", k+5, i+1), 64<<i, frames(frame(fin|kind.op, payload)), reply{kind.op, payload}))
		}
	}
	payload := strings.Repeat("*", 65536)
	return append(all, echoes("10.1.1", 0, fragments(opText, payload, 1300), reply{opText, payload}))
}

// fragments returns the frames of a message with so many bytes in each.
func fragments(op byte, payload string, size int) (all [][]byte) {
	for len(payload) > size {
		all, op, payload = append(all, frame(op, payload[:size])), opContinue, payload[size:]
	}
	return append(all, frame(fin|op, payload))
}

// 9.7 and 9.8: a thousand messages, each after the one before has come back.
func roundTrips() (all []testCase) {
	for k, kind := range kinds {
		for i, size := range []int{0, 16, 64, 256, 1024, 4096} {
			payload := strings.Repeat(kind.fill, size)
			c := testCase{number: fmt.Sprintf("9.%d.%d", k+7, i+1)}
			one := step{send: frames(frame(fin|kind.op, payload)), want: []reply{{kind.op, payload}}}
			for range 1000 {
				c.steps = append(c.steps, one)
			}
			all = append(all, c)
		}
	}
	return all
}
