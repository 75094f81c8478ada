// Names answers each line it receives, a name, with the addresses of that name and where
// they come from. See docs/names.md.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"log"
	"net/netip"
	"strings"

	"github.com/pollux-io/pollux/dns"
	"github.com/pollux-io/pollux/loop"
)

// maxLine is the length of a line: above that of any name in DNS, which has up to 255 octets.
const maxLine = 1024

var errLineTooLong = errors.New("the line is too long")

// session is one connection. It has one lookup at a time.
type session struct {
	resolver *dns.Resolver
	lookup   *dns.Lookup // in progress, or nil
}

// Data starts the lookup of the first line, and pauses until it has ended.
func (s *session) Data(c *loop.Conn, b []byte) (int, error) {
	line, _, whole := bytes.Cut(b, []byte("\n"))
	switch {
	case len(line) > maxLine:
		return 0, errLineTooLong
	case !whole || s.lookup != nil:
		return 0, nil
	}
	c.Pause()
	s.lookup = s.resolver.LookupFunc(c.Loop(), string(bytes.TrimSpace(line)), func(a dns.Answer, err error) {
		s.lookup = nil
		fmt.Fprintln(c, answer(a, err))
		c.Resume() // the next line may be here already
	})
	return len(line) + 1, nil
}

// Closed cancels the lookup. Its function is called all the same, with the error.
func (s *session) Closed(*loop.Conn, error) {
	if s.lookup != nil {
		s.lookup.Cancel()
	}
}

// answer is the line that a client gets.
func answer(a dns.Answer, err error) string {
	switch {
	case errors.Is(err, dns.ErrNotFound):
		return "no addresses"
	case isTemporary(err):
		return "try again later"
	case err != nil:
		log.Print(err)
		return "error"
	}
	return fmt.Sprintf("%s (%s)", strings.Trim(fmt.Sprint(a.Addrs), "[]"), a.Path)
}

// isTemporary reports whether the same lookup may succeed later.
func isTemporary(err error) bool {
	e, ok := errors.AsType[*dns.Error](err)
	return ok && e.Temporary() // timeouts are
}

// serve listens at an address. The resolver sends its queries from the loops of g.
func serve(g *loop.Group, address string, c dns.Config) (*dns.Resolver, *loop.Listener, error) {
	c.Group = g
	r, err := dns.New(c)
	if err != nil {
		return nil, nil, err
	}
	ln, err := g.Listen("tcp", address, func(*loop.Conn) loop.Handler { return &session{resolver: r} })
	if err != nil {
		r.Close()
		return nil, nil, err
	}
	return r, ln, nil
}

func main() {
	listen := flag.String("listen", "127.0.0.1:7000", "listen at this `address`")
	server := flag.String("server", "", "ask the DNS server at this `address` with a port, instead of those of resolv.conf")
	flag.Parse()
	var c dns.Config
	if *server != "" {
		at, err := netip.ParseAddrPort(*server)
		if err != nil {
			log.Fatalf("--server: %v", err)
		}
		c.Servers = []netip.AddrPort{at}
	}
	g, err := loop.NewGroup(loop.Config{})
	if err != nil {
		log.Fatal(err)
	}
	r, ln, err := serve(g, *listen, c)
	if err != nil {
		log.Fatal(err)
	}
	for _, w := range r.Warnings() {
		log.Print(w)
	}
	log.Printf("names at %v", ln.Addr())
	log.Fatal(g.Wait()) // until all loops have failed
}
