package frame_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"strings"

	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/loop/frame"
)

// lines is shared by all connections: a format has no state.
var lines = frame.Lines(4096)

// greeter answers each line.
type greeter struct{}

func (greeter) Data(c *loop.Conn, b []byte) (consumed int, err error) {
	return frame.Each(lines, b, func(line []byte) error {
		_, err := fmt.Fprintf(c, "hello, %s\n", line)
		return err
	})
}

// A server for a protocol of lines. What Data leaves, an incomplete line, is delivered again
// together with what follows it.
func Example() {
	g, err := loop.NewGroup(loop.Config{MaxUnreadBytes: lines.MaxEncodedBytes()})
	if err != nil {
		log.Fatal(err)
	}
	defer g.Shutdown(context.Background())
	ln, err := g.Listen("tcp", "127.0.0.1:0", func(*loop.Conn) loop.Handler { return greeter{} })
	if err != nil {
		log.Fatal(err)
	}

	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	answers := bufio.NewScanner(c)
	io.WriteString(c, "Castor\r\nPol")
	answers.Scan()
	fmt.Println(answers.Text())
	io.WriteString(c, "lux\n")
	answers.Scan()
	fmt.Println(answers.Text())
	// Output:
	// hello, Castor
	// hello, Pollux
}

// one runs one command at a time: after a command it pauses, until the command is done.
type one struct{ running bool }

func (h *one) Data(c *loop.Conn, b []byte) (consumed int, err error) {
	for !h.running {
		n, line, err := lines.Next(b[consumed:])
		if n == 0 || err != nil {
			return consumed, err // the rest, if there is one, is not a complete line
		}
		consumed += n
		h.run(c, string(line))
	}
	return consumed, nil
}

func (h *one) run(c *loop.Conn, command string) {
	h.running = true
	c.Pause()
	c.Loop().AfterFunc(0, func() {
		h.running = false
		fmt.Fprintln(c, command, "is done")
		c.Resume()
	})
}

// A handler that stops between two frames calls Next itself.
func ExampleDelimited_Next() {
	g, err := loop.NewGroup(loop.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer g.Shutdown(context.Background())
	ln, err := g.Listen("tcp", "127.0.0.1:0", func(*loop.Conn) loop.Handler { return &one{} })
	if err != nil {
		log.Fatal(err)
	}

	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	io.WriteString(c, "one\ntwo\n")
	answers := bufio.NewScanner(c)
	for range 2 {
		answers.Scan()
		fmt.Println(answers.Text())
	}
	// Output:
	// one is done
	// two is done
}

// The function may stop Each after a frame. A frame that is too long is an error.
func ExampleEach() {
	b := []byte("one\nquit\nthree\n")
	n, err := frame.Each(frame.Lines(5), b, func(line []byte) error {
		fmt.Printf("%s\n", line)
		if string(line) == "quit" {
			return frame.ErrStop
		}
		return nil
	})
	fmt.Println(n, "consumed", err)

	_, err = frame.Each(frame.Lines(5), []byte("much longer\n"), func([]byte) error { return nil })
	var tooLong *frame.TooLongError
	fmt.Println(errors.As(err, &tooLong), err)
	// Output:
	// one
	// quit
	// 9 consumed <nil>
	// true frame: Delimited: no delimiter after 5 bytes, the maximum; raise MaxBytes if longer frames are valid
}

// A payload that contains the delimiter would be two frames, and is refused.
func ExampleDelimited_Append() {
	lines := &frame.Delimited{Delimiter: "\r\n", MaxBytes: 510}
	b, err := lines.Append(nil, []byte("NICK pollux"))
	fmt.Printf("%q %v\n", b, err)

	_, err = lines.Append(nil, []byte("NICK pollux\r\nQUIT"))
	var contains *frame.DelimiterError
	fmt.Println(errors.As(err, &contains), contains.End)
	// Output:
	// "NICK pollux\r\n" <nil>
	// true 11
}

// The length of a Prefixed frame precedes it.
func ExamplePrefixed() {
	messages := &frame.Prefixed{LengthBytes: 2, MaxBytes: 1 << 10}
	b, err := messages.Append(nil, []byte("hello"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%q\n", b)

	n, message, err := messages.Next(b)
	fmt.Printf("%d bytes: %s %v\n", n, message, err)
	n, _, err = messages.Next(b[:4]) // incomplete
	fmt.Println(n, err)
	// Output:
	// "\x00\x05hello"
	// 7 bytes: hello <nil>
	// 0 <nil>
}

// The payload may be sent after its header without being copied: by loop.Conn.WriteOwned, for
// example.
func ExamplePrefixed_AppendHeader() {
	messages := &frame.Prefixed{LengthBytes: 4, LittleEndian: true, IncludesLength: true, MaxBytes: 1 << 20}
	payload := []byte(strings.Repeat("x", 1000))
	header, err := messages.AppendHeader(nil, len(payload))
	fmt.Printf("% x %v\n", header, err)
	// Output: ec 03 00 00 <nil>
}

// upload counts the bytes of each frame as they arrive, and keeps only the number of those that are
// missing.
type upload struct{ missing int }

var uploads = &frame.Varint{MaxBytes: 100 << 20}

func (h *upload) Data(_ *loop.Conn, b []byte) (consumed int, err error) {
	for {
		part := min(h.missing, len(b)-consumed)
		h.missing -= part
		consumed += part
		n, payload, err := uploads.Header(b[consumed:])
		if n == 0 || err != nil { // the rest of b, if there is one, is not a complete header
			return consumed, err
		}
		fmt.Println("an upload of", payload, "bytes begins")
		h.missing = payload
		consumed += n
	}
}

// A frame that is longer than the memory for it is not collected, but handled in parts.
func ExampleVarint_Header() {
	h := &upload{}
	header, err := uploads.AppendHeader(nil, 50<<20)
	if err != nil {
		log.Fatal(err)
	}
	stream := append(header, "the first bytes"...)
	n, err := h.Data(nil, stream)
	fmt.Println(n, "of", len(stream), "consumed,", h.missing, "missing", err)
	// Output:
	// an upload of 52428800 bytes begins
	// 19 of 19 consumed, 52428785 missing <nil>
}

// The format of a stream of protobuf messages.
func ExampleVarint() {
	messages := &frame.Varint{MaxBytes: 1 << 20}
	b, err := messages.Append(nil, []byte(strings.Repeat("x", 300)))
	if err != nil {
		log.Fatal(err)
	}
	n, message, err := messages.Next(b)
	fmt.Println(n, len(message), err)

	_, _, err = messages.Next([]byte("\x80\x80\x80\x80\x10"))
	fmt.Println(err)
	// Output:
	// 302 300 <nil>
	// frame: Varint: a frame of 4294967296 bytes; the maximum is 1048576; raise it if such frames are valid
}

// documents end with a line that has only a dot, and may be long: so each connection has a Scanner.
var documents = &frame.Delimited{Delimiter: "\n.\n", MaxBytes: 1 << 20}

type receiver struct{ in frame.Scanner }

func (h *receiver) Data(_ *loop.Conn, b []byte) (consumed int, err error) {
	return frame.Each(&h.in, b, func(document []byte) error {
		fmt.Println("a document of", len(document), "bytes")
		return nil
	})
}

// A Scanner searches each byte once, in however many parts the frame arrives.
func ExampleScanner() {
	h := &receiver{in: frame.Scanner{Format: documents}}
	stream := []byte(strings.Repeat("a line\n", 100) + ".\n")
	for end := range stream {
		if n, err := h.Data(nil, stream[:end+1]); n > 0 || err != nil {
			fmt.Println(n, "consumed", err)
		}
	}
	// Output:
	// a document of 699 bytes
	// 702 consumed <nil>
}
