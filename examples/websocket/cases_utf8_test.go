package main

import (
	"fmt"
	"strings"
)

// 6.1 to 6.4: UTF-8 in fragments, and bytes that are refused before the rest has come.
func utf8Handling() []testCase {
	const (
		mixed = "Hello-µ@ßöäüàá-UTF-8!!"
		greek = "\xCE\xBA\xE1\xBD\xB9\xCF\x83\xCE\xBC\xCE\xB5"
		bad   = greek + "\xED\xA0\x80" + "edited"
		// early is invalid from its 13th byte on: the code point would be above U+10FFFF.
		early = greek + "\xF4\x90\x80\x80" + "edited"
	)
	empty := frame(opContinue, "")
	all := []testCase{
		echoes("6.1.1", 0, frames(text("")), reply{opText, ""}),
		echoes("6.1.2", 0, frames(frame(opText, ""), empty, frame(fin|opContinue, "")), reply{opText, ""}),
		echoes("6.1.3", 0, frames(frame(opText, ""), frame(opContinue, "middle frame payload"), frame(fin|opContinue, "")), reply{opText, "middle frame payload"}),
		echoes("6.2.1", 0, frames(text(mixed)), reply{opText, mixed}),
		echoes("6.2.2", 0, frames(frame(opText, "Hello-µ@ßöä"), frame(fin|opContinue, "üàá-UTF-8!!")), reply{opText, mixed}),
		echoes("6.2.3", 0, fragments(opText, mixed, 1), reply{opText, mixed}),
		echoes("6.2.4", 0, fragments(opText, greek, 1), reply{opText, greek}),
		fails("6.3.1", 1007, 0, frames(text(bad))),
		fails("6.3.2", 1007, 0, fragments(opText, bad, 1)),
	}
	// The rest of these messages is never sent: they must fail without it. The ping shows that
	// the first part has not failed.
	ping, pong := frame(fin|opPing, "A"), []reply{{opPong, "A"}}
	for i, second := range []struct{ from, to int }{{11, 15}, {12, 13}} {
		all = append(all, testCase{
			number: fmt.Sprint("6.4.", i+1), closes: true, codes: []uint16{1007},
			steps: []step{
				{send: frames(frame(opText, early[:second.from]), ping), want: pong},
				{send: frames(frame(opContinue, early[second.from:second.to]))},
			},
		})
		whole := text(early)
		header := len(whole) - len(early)
		all = append(all, testCase{
			number: fmt.Sprint("6.4.", i+3), closes: true, codes: []uint16{1007},
			steps: []step{
				{send: frames(whole[:header+second.from])},
				{send: frames(whole[header+second.from : header+second.to])},
			},
		})
	}
	return all
}

// utf8Sequences are those of 6.5 to 6.23, which are from Markus Kuhn's stress test of UTF-8
// decoders. A "-" in front marks those that are invalid.
func utf8Groups() [][]string {
	const greek = "\xCE\xBA\xE1\xBD\xB9\xCF\x83\xCE\xBC\xCE\xB5"
	groups := [][]string{
		{"hello\x24world", "hello\xC2\xA2world", "hello\xE2\x82\xACworld", "hello\xF0\xA4\xAD\xA2world", greek},
		{}, // all beginnings of greek
		{"\x00", "\xC2\x80", "\xE0\xA0\x80", "\xF0\x90\x80\x80"},
		{"-\xF8\x88\x80\x80\x80", "-\xFC\x84\x80\x80\x80\x80"},
		{"\x7F", "\xDF\xBF", "\xEF\xBF\xBF", "\xF4\x8F\xBF\xBF"},
		{"-\xF7\xBF\xBF\xBF", "-\xFB\xBF\xBF\xBF\xBF", "-\xFD\xBF\xBF\xBF\xBF\xBF"},
		{"\xED\x9F\xBF", "\xEE\x80\x80", "\xEF\xBF\xBD", "\xF4\x8F\xBF\xBF", "-\xF4\x90\x80\x80"},
		{"-\x80", "-\xBF", "-\x80\xBF", "-\x80\xBF\x80", "-\x80\xBF\x80\xBF", "-\x80\xBF\x80\xBF\x80", "-\x80\xBF\x80\xBF\x80\xBF", "-" + span(0x80, 0xBF, "")},
		{"-" + span(0xC0, 0xDF, " "), "-" + span(0xE0, 0xEF, " "), "-" + span(0xF0, 0xF7, " "), "-" + span(0xF8, 0xFB, " "), "-" + span(0xFC, 0xFD, " ")},
		{
			"-\xC0", "-\xE0\x80", "-\xF0\x80\x80", "-\xF8\x80\x80\x80", "-\xFC\x80\x80\x80\x80",
			"-\xDF", "-\xEF\xBF", "-\xF7\xBF\xBF", "-\xFB\xBF\xBF\xBF", "-\xFD\xBF\xBF\xBF\xBF",
		},
		{"-\xC0\xE0\x80\xF0\x80\x80\xF8\x80\x80\x80\xFC\x80\x80\x80\x80\xDF\xEF\xBF\xF7\xBF\xBF\xFB\xBF\xBF\xBF\xFD\xBF\xBF\xBF\xBF"},
		{"-\xFE", "-\xFF", "-\xFE\xFE\xFF\xFF"},
		{"-\xC0\xAF", "-\xE0\x80\xAF", "-\xF0\x80\x80\xAF", "-\xF8\x80\x80\x80\xAF", "-\xFC\x80\x80\x80\x80\xAF"},
		{"-\xC1\xBF", "-\xE0\x9F\xBF", "-\xF0\x8F\xBF\xBF", "-\xF8\x87\xBF\xBF\xBF", "-\xFC\x83\xBF\xBF\xBF\xBF"},
		{"-\xC0\x80", "-\xE0\x80\x80", "-\xF0\x80\x80\x80", "-\xF8\x80\x80\x80\x80", "-\xFC\x80\x80\x80\x80\x80"},
		{"-\xED\xA0\x80", "-\xED\xAD\xBF", "-\xED\xAE\x80", "-\xED\xAF\xBF", "-\xED\xB0\x80", "-\xED\xBE\x80", "-\xED\xBF\xBF"},
		{
			"-\xED\xA0\x80\xED\xB0\x80", "-\xED\xA0\x80\xED\xBF\xBF", "-\xED\xAD\xBF\xED\xB0\x80", "-\xED\xAD\xBF\xED\xBF\xBF",
			"-\xED\xAE\x80\xED\xB0\x80", "-\xED\xAE\x80\xED\xBF\xBF", "-\xED\xAF\xBF\xED\xB0\x80", "-\xED\xAF\xBF\xED\xBF\xBF",
		},
		{"\xEF\xBF\xBE", "\xEF\xBF\xBF"}, // and the last two code points of each other plane
		{"\xEF\xBF\xB9", "\xEF\xBF\xBA", "\xEF\xBF\xBB", "\xEF\xBF\xBC", "\xEF\xBF\xBD", "\xEF\xBF\xBE", "\xEF\xBF\xBF"},
	}
	for i := range len(greek) {
		mark := "-" // 2, 5, 7, 9 and 11 bytes are whole characters
		if i == 1 || i == 4 || i == 6 || i == 8 || i == 10 {
			mark = ""
		}
		groups[1] = append(groups[1], mark+greek[:i+1])
	}
	for plane := rune(1); plane <= 16; plane++ {
		groups[17] = append(groups[17], string(plane<<16|0xFFFE), string(plane<<16|0xFFFF))
	}
	return groups
}

// span returns the bytes from first up to last, without it, each followed by a separator.
func span(first, last byte, separator string) string {
	var b strings.Builder
	for c := first; c < last; c++ {
		b.WriteByte(c)
		b.WriteString(separator)
	}
	return b.String()
}

// 6.5 to 6.23: sequences of UTF-8, each a message.
func utf8Sequences() (all []testCase) {
	for i, group := range utf8Groups() {
		for j, s := range group {
			number := fmt.Sprintf("6.%d.%d", i+5, j+1)
			if bad, ok := strings.CutPrefix(s, "-"); ok {
				all = append(all, fails(number, 1007, 0, frames(text(bad))))
				continue
			}
			all = append(all, echoes(number, 0, frames(text(s)), reply{opText, s}))
		}
	}
	return all
}
