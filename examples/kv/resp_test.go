package main

import (
	"bytes"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

const testMaxBulk = 1 << 20

// parse feeds a parser with input, split into chunks whose lengths next returns, as a
// connection does: bytes that are not consumed are passed again. It returns the commands.
func parse(t testing.TB, input []byte, next func() int) (commands [][]string, err error) {
	t.Helper()
	p := newParser(testMaxBulk)
	from, to := 0, 0
	for to < len(input) {
		to = min(to+next(), len(input))
		for {
			b := bytes.Clone(input[from:to]) // different memory each time, as on a loop
			n, err := p.next(b)
			if cap(p.args) > 2*maxArgs || cap(p.unquoted) > maxInline {
				t.Fatalf("capacity for %d arguments and %d bytes is kept", cap(p.args), cap(p.unquoted))
			}
			if n < 0 || n > len(b) || err != nil && n != 0 {
				t.Fatalf("%d consumed of %d bytes, %v", n, len(b), err)
			}
			if err != nil {
				return commands, err
			}
			if n == 0 {
				break
			}
			args := []string{}
			for _, a := range p.args {
				args = append(args, string(p.bytes(b)[a.from:a.to]))
			}
			commands = append(commands, args)
			from += n
		}
	}
	return commands, nil
}

// always returns a function that always returns n.
func always(n int) func() int { return func() int { return n } }

var parserTests = []struct {
	input string
	want  [][]string
	err   string
}{
	{"", nil, ""},
	{"*1\r\n$4\r\nPING\r\n", [][]string{{"PING"}}, ""},
	{"*2\r\n$3\r\nGET\r\n$0\r\n\r\n*1\r\n$4\r\nQUIT\r\n", [][]string{{"GET", ""}, {"QUIT"}}, ""},
	{"*2\r\n$4\r\nECHO\r\n$4\r\n\r\n*1\r\n", [][]string{{"ECHO", "\r\n*1"}}, ""},
	{"*0\r\n*-1\r\nPING\n", [][]string{{}, {}, {"PING"}}, ""},
	{"PING\r\n  \r\n\n set\ta  b \r\n", [][]string{{"PING"}, {}, {}, {"set", "a", "b"}}, ""},
	{"SET a \"b c\" 'd\"e' ''\n", [][]string{{"SET", "a", "b c", "d\"e", ""}}, ""},
	{"SET a b\"c\"\n", [][]string{{"SET", "a", "bc"}}, ""},
	{"SET a \"\\n\\x41\\\"\" '\\n\\''\n", [][]string{{"SET", "a", "\nA\"", "\\n'"}}, ""},
	{"SET a b\"c\n", nil, "unbalanced quotes in request"},
	{"*2\r\n$3\r\nGET\r\n$10\r\nhalf", nil, ""},

	{"PING\nSET a \"b\n", [][]string{{"PING"}}, "unbalanced quotes in request"},
	{"SET a \"b\"c\n", nil, "unbalanced quotes in request"},
	{"SET a \"\\\"\n", nil, "unbalanced quotes in request"},
	{"*x\r\n", nil, "invalid multibulk length"},
	{"*65537\r\n", nil, "invalid multibulk length"},
	{"*99999999999999999999\r\n", nil, "invalid multibulk length"},
	{"*1\rx", nil, "invalid multibulk length"},
	{"*" + strings.Repeat("1", 64), nil, "too big mbulk count string"},
	{"*1\r\n:4\r\n", nil, "expected '$', got ':'"},
	{"*1\r\n\n", nil, "expected '$', got '?'"},
	{"*1\r\n$-1\r\n", nil, "invalid bulk length"},
	{"*1\r\n$\r\n", nil, "invalid bulk length"},
	{"*1\r\n$1048577\r\n", nil, "invalid bulk length"},
	{"*1\r\n$9223372036854775807\r\n", nil, "invalid bulk length"},
	{"*1\r\n$" + strings.Repeat("1", 64), nil, "too big bulk count string"},
	{"*1\r\n$4\r\nPINGPING\r\n", nil, "bulk string is longer than announced"},
	{strings.Repeat("x", maxInline) + "\r\n", [][]string{{strings.Repeat("x", maxInline)}}, ""},
	{strings.Repeat("x", maxInline+1) + "\n", nil, "too big inline request"},
	{strings.Repeat("x", maxInline+2), nil, "too big inline request"},
	{strings.Repeat("x", maxInline+2) + "\n", nil, "too big inline request"},
}

// The commands are the same, however the stream is split.
func TestParserSplitAtEveryByte(t *testing.T) {
	for _, test := range parserTests {
		t.Run(fmt.Sprintf("%.20q", test.input), func(t *testing.T) {
			for first := 1; first <= min(len(test.input), 200); first++ {
				pieces := []int{first, len(test.input)}
				testParse(t, test.input, test.want, test.err, func() int {
					n := pieces[0]
					pieces = append(pieces[1:], len(test.input))
					return n
				})
			}
			if len(test.input) < 1000 {
				testParse(t, test.input, test.want, test.err, always(1))
			}
		})
	}
}

func testParse(t *testing.T, input string, want [][]string, wantErr string, next func() int) {
	t.Helper()
	got, err := parse(t, []byte(input), next)
	if !reflect.DeepEqual(got, want) {
		t.Errorf("commands %q, want %q", got, want)
	}
	message := ""
	if err != nil {
		message = strings.TrimPrefix(err.Error(), "Protocol error: ")
	}
	if message != wantErr {
		t.Errorf("error %q, want %q", message, wantErr)
	}
}

// A command that is longer than MaxUnreadBytes is refused, or the client would
// wait forever.
func TestParserBoundsCommand(t *testing.T) {
	var input bytes.Buffer
	input.WriteString("*4\r\n")
	for range 3 {
		fmt.Fprintf(&input, "$%d\r\n%s\r\n", testMaxBulk, strings.Repeat("x", testMaxBulk))
	}
	got, err := parse(t, input.Bytes(), always(1<<20))
	if err == nil || len(got) > 0 {
		t.Errorf("%d commands, %v", len(got), err)
	}
}

// Sent byte by byte, a command with many arguments takes time in proportion to its
// length: the parser continues where it was.
func TestParserContinues(t *testing.T) {
	input := []byte("*60000\r\n" + strings.Repeat("$1\r\nx\r\n", 60_000))
	p := newParser(testMaxBulk)
	for i := 1; i < len(input); i++ {
		if n, err := p.next(input[:i]); n != 0 || err != nil {
			t.Fatalf("%d, %v after %d bytes", n, err, i)
		}
	}
	if n, err := p.next(input); n != len(input) || err != nil || len(p.args) != 60_000 {
		t.Errorf("%d, %v, %d arguments", n, err, len(p.args))
	}
	p.trim()
	if p.args != nil {
		t.Error("capacity for 60,000 arguments is kept")
	}
}

func FuzzParse(f *testing.F) {
	for _, test := range parserTests {
		f.Add([]byte(test.input), uint8(3))
	}
	f.Fuzz(func(t *testing.T, input []byte, piece uint8) {
		whole, wholeErr := parse(t, input, always(max(len(input), 1)))
		pieces, piecesErr := parse(t, input, always(int(piece)+1))
		if !reflect.DeepEqual(whole, pieces) {
			t.Errorf("commands %q in one chunk, %q in chunks of %d", whole, pieces, int(piece)+1)
		}
		if fmt.Sprint(wholeErr) != fmt.Sprint(piecesErr) {
			t.Errorf("error %v in one chunk, %v in chunks of %d", wholeErr, piecesErr, int(piece)+1)
		}
	})
}

func TestParseInt(t *testing.T) {
	for text, want := range map[string]int64{
		"0": 0, "7": 7, "-7": -7, "9223372036854775807": 1<<63 - 1, "-9223372036854775808": -1 << 63,
	} {
		if got, ok := parseInt([]byte(text)); !ok || got != want {
			t.Errorf("%q is %d, %v", text, got, ok)
		}
	}
	for _, text := range []string{"", "-", "+1", "01", "-0", "-01", " 1", "1 ", "1_0", "x", "9223372036854775808", "-9223372036854775809", "99999999999999999999"} {
		if got, ok := parseInt([]byte(text)); ok {
			t.Errorf("%q is %d", text, got)
		}
	}
}

func TestGlob(t *testing.T) {
	for _, test := range []struct {
		pattern, s string
		want       bool
	}{
		{"*", "", true},
		{"*", "abc", true},
		{"", "", true},
		{"", "a", false},
		{"a?c", "abc", true},
		{"a?c", "ac", false},
		{"a*c", "abbc", true},
		{"a*c*", "abbd", false},
		{"*ab*ab", "abaab", true},
		{"h[ae]llo", "hello", true},
		{"h[^e]llo", "hello", false},
		{"h[a-c]llo", "hbllo", true},
		{"h[c-a]llo", "hbllo", true},
		{"h[a-c]llo", "hdllo", false},
		{`a\*`, "a*", true},
		{`a\*`, "ab", false},
		{`[\]]`, "]", true},
		{"[ab", "b", true},
		{"[", "[", false},
		{strings.Repeat("*a", 40) + "b", strings.Repeat("a", 5000), false},
	} {
		steps := maxSteps
		if got := matches([]byte(test.pattern), test.s, &steps); got != test.want || steps < 0 {
			t.Errorf("%.20q matches %.20q: %v", test.pattern, test.s, got)
		}
	}
	// Matches that would take hours are stopped.
	for _, pattern := range []string{"*" + strings.Repeat("a", 1<<20) + "b", "*[" + strings.Repeat("b", 1<<20) + "]"} {
		steps := maxSteps
		if matches([]byte(pattern), strings.Repeat("a", 4<<20), &steps) || steps >= 0 {
			t.Errorf("%.20q: %d steps are left", pattern, steps)
		}
	}
}

// From bytes to replies, GET and SET of existing keys do not allocate.
func TestNoAllocations(t *testing.T) {
	s := start(t, options{}).server
	h := &session{call: s.calls[s.group.Loops()[0]], in: newParser(testMaxBulk)}
	input := []byte("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\nhello\r\n*2\r\n$3\r\nget\r\n$1\r\nk\r\n*2\r\n$4\r\nINCR\r\n$1\r\nn\r\n")
	if n := testing.AllocsPerRun(1000, func() {
		if n, _, err := h.batch(input); n != len(input) || err != nil {
			t.Fatal(n, err)
		}
		h.call.take()
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// For any input, each command gets one complete reply, within the bounds.
func FuzzSession(f *testing.F) {
	for _, test := range parserTests {
		f.Add([]byte(test.input))
	}
	for _, line := range transcript {
		f.Add([]byte(line.command + "\r\n"))
		f.Add([]byte(resp(strings.Fields(line.command)...)))
	}
	s := start(f, options{maxMemory: 1 << 20}).server
	x := s.calls[s.group.Loops()[0]]
	f.Fuzz(func(t *testing.T, input []byte) {
		h := &session{call: x, in: newParser(testMaxBulk)}
		for len(input) > 0 && !h.quit {
			n, full, err := h.batch(input)
			replies := x.take()
			for len(replies) > 0 {
				rest, ok := skipReply(replies)
				if !ok {
					t.Fatalf("not a reply: %.100q", replies)
				}
				replies = rest
			}
			input = input[n:]
			if err != nil || !full {
				break
			}
		}
	})
}

// skipReply returns the bytes after the reply at the start of b.
func skipReply(b []byte) (rest []byte, ok bool) {
	line, rest, ok := bytes.Cut(b, []byte(crlf))
	if !ok || len(line) == 0 {
		return nil, false
	}
	n, isNumber := parseInt(line[1:])
	switch line[0] {
	case '+', '-':
		return rest, !bytes.ContainsAny(line, "\r\n")
	case ':':
		return rest, isNumber
	case '$':
		if n == -1 {
			return rest, true
		}
		if !isNumber || n < 0 || int64(len(rest)) < n+2 {
			return nil, false
		}
		return rest[n+2:], string(rest[n:n+2]) == crlf
	case '*':
		for ok = isNumber; ok && n > 0; n-- {
			rest, ok = skipReply(rest)
		}
		return rest, ok
	}
	return nil, false
}
