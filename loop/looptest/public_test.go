package looptest_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/loop/looptest"
)

// No exported method or field leads to the internals of the simulation.
func TestNothingInternalIsPublic(t *testing.T) {
	testkit.CheckPublic(t, []reflect.Type{
		reflect.TypeFor[looptest.Network](), reflect.TypeFor[looptest.Config](), reflect.TypeFor[looptest.Link](), reflect.TypeFor[looptest.Faults](),
		reflect.TypeFor[looptest.Adversity](), reflect.TypeFor[looptest.Host](), reflect.TypeFor[looptest.Conn](), reflect.TypeFor[looptest.Listener](),
		reflect.TypeFor[looptest.PacketConn](), reflect.TypeFor[looptest.Segment](), reflect.TypeFor[looptest.Verdict](),
	}, nil)
}

// misuses has the calls that must panic, and have no effect. The message begins with "looptest: ", and
// names what is out of range.
var misuses = []struct {
	function, argument string
	names              string
	call               func(t testing.TB, n *looptest.Network, h *looptest.Host)
}{
	{"New", "a latency", "Link.Latency", func(t testing.TB, _ *looptest.Network, _ *looptest.Host) {
		looptest.New(t, looptest.Config{Link: looptest.Link{Latency: -1}})
	}},
	{"New", "a probability", "Faults.Resets", func(t testing.TB, _ *looptest.Network, _ *looptest.Host) {
		looptest.New(t, looptest.Config{Faults: looptest.Faults{Resets: 1.1}})
	}},
	{"New", "an adversity", "Adversity.Delays", func(t testing.TB, _ *looptest.Network, _ *looptest.Host) {
		looptest.New(t, looptest.Config{Adversity: looptest.Adversity{Delays: 1}})
	}},
	{"Pipe", "no function", "nil function", func(t testing.TB, _ *looptest.Network, _ *looptest.Host) { looptest.Pipe(t, nil) }},
	{"Network.Pipe", "no function", "nil function", func(_ testing.TB, n *looptest.Network, _ *looptest.Host) { n.Pipe(loop.Config{}, nil) }},
	{"Network.Host", "the address of another host", "10.0.0.1", func(_ testing.TB, n *looptest.Network, h *looptest.Host) { n.Host(h.Addr()) }},
	{"Network.Advance", "a negative time", "negative", func(_ testing.TB, n *looptest.Network, _ *looptest.Host) { n.Advance(-1) }},
	{"Network.Advance", "the clock of package time", "Config.Manual", func(t testing.TB, _ *looptest.Network, _ *looptest.Host) {
		looptest.New(t, looptest.Config{}).Advance(1)
	}},
	{"Network.AdvanceUntil", "no function", "nil function", func(_ testing.TB, n *looptest.Network, _ *looptest.Host) { n.AdvanceUntil(1, nil) }},
	{"Network.AdvanceUntil", "a negative time", "negative", func(_ testing.TB, n *looptest.Network, _ *looptest.Host) {
		n.AdvanceUntil(-1, func() bool { return true })
	}},
	{"Network.SetLink", "a bandwidth", "Link.BytesPerSecond", func(_ testing.TB, n *looptest.Network, h *looptest.Host) {
		n.SetLink(h, h, looptest.Link{BytesPerSecond: -1})
	}},
	{"Network.SetLink", "no host", "host is nil", func(_ testing.TB, n *looptest.Network, h *looptest.Host) { n.SetLink(h, nil, looptest.Link{}) }},
	{"Network.SetLinkOneWay", "a host of another network", "another Network", func(t testing.TB, n *looptest.Network, h *looptest.Host) {
		n.SetLinkOneWay(h, looptest.New(t, looptest.Config{}).Host(), looptest.Link{})
	}},
	{"Network.SetFaults", "a probability", "Faults.PartialReads", func(_ testing.TB, n *looptest.Network, _ *looptest.Host) {
		n.SetFaults(looptest.Faults{PartialReads: -0.1})
	}},
	{"Network.Partition", "no host", "host is nil", func(_ testing.TB, n *looptest.Network, h *looptest.Host) { n.Partition(nil, h) }},
	{"Network.PartitionOneWay", "no host", "host is nil", func(_ testing.TB, n *looptest.Network, h *looptest.Host) { n.PartitionOneWay(h, nil) }},
	{"Network.Heal", "no host", "host is nil", func(_ testing.TB, n *looptest.Network, h *looptest.Host) { n.Heal(h, nil) }},
	{"Host.NewGroup", "another host", "another host", func(_ testing.TB, n *looptest.Network, h *looptest.Host) {
		h.NewGroup(loop.Config{Network: n.Host()})
	}},
	{"Host.SetMaxDescriptors", "a negative number", "negative", func(_ testing.TB, _ *looptest.Network, h *looptest.Host) { h.SetMaxDescriptors(-1) }},
	{"Host.SetConnectPolicy", "an unknown policy", "ConnectPolicy(3)", func(_ testing.TB, _ *looptest.Network, h *looptest.Host) { h.SetConnectPolicy(3) }},
	{"Delay", "a negative time", "negative", func(testing.TB, *looptest.Network, *looptest.Host) { looptest.Delay(-time.Second) }},
	{"ResetAfter", "a negative number", "negative", func(testing.TB, *looptest.Network, *looptest.Host) { looptest.ResetAfter(-1) }},
}

// permitted has the functions whose arguments are all valid, or are checked elsewhere, with the reason.
var permitted = map[string]string{
	"Network.Tracef": "each format is valid", "Network.SetRule": "nil removes the rule: TestRules",
	"Host.Listen": "TestBadAddresses", "Host.Dial": "TestBadAddresses", "Host.DialContext": "TestBadAddresses",
	"Host.ListenPacket": "TestBadAddresses",
	"Conn.Read":         "as net.Conn: TestConn", "Conn.Write": "as net.Conn: TestConn", "Conn.SetDeadline": "as net.Conn: TestConn",
	"Conn.SetReadDeadline": "as net.Conn: TestConn", "Conn.SetWriteDeadline": "as net.Conn: TestConn",
	"Conn.SetReadBuffer": "as *net.TCPConn", "Conn.SetWriteBuffer": "as *net.TCPConn", "Conn.SetLinger": "as *net.TCPConn",
	"Conn.SetNoDelay": "a bool", "Conn.SetKeepAliveConfig": "as *net.TCPConn", "Listener.SetDeadline": "as *net.TCPListener",
	"PacketConn.ReadFrom": "as net.PacketConn", "PacketConn.WriteTo": "as net.PacketConn: TestPacketConn",
	"PacketConn.ReadFromUDPAddrPort": "as *net.UDPConn", "PacketConn.WriteToUDPAddrPort": "as *net.UDPConn",
	"PacketConn.SetBroadcast": "a bool", "PacketConn.JoinGroup": "TestPacketConn", "PacketConn.LeaveGroup": "TestPacketConn",
	"PacketConn.SetDeadline": "as net.PacketConn", "PacketConn.SetReadDeadline": "as net.PacketConn", "PacketConn.SetWriteDeadline": "as net.PacketConn",
}

func TestMisusePanics(t *testing.T) {
	testkit.CheckLeaks(t)
	for _, m := range misuses {
		n := looptest.New(t, looptest.Config{Manual: true})
		h := n.Host()
		message := panicOf(func() { m.call(t, n, h) })
		if !strings.HasPrefix(message, "looptest: ") || !strings.Contains(message, m.names) {
			t.Errorf("%s with %s: the panic is %q, want one that names %q", m.function, m.argument, message, m.names)
		}
	}
}

// panicOf returns what f panics with, or "" if it does not.
func panicOf(f func()) (message string) {
	defer func() {
		switch v := recover().(type) {
		case nil:
		case string:
			message = v
		case error:
			message = v.Error()
		}
	}()
	f()
	return ""
}

// Each exported function with a parameter is in one of the tables.
func TestMisuseIsComplete(t *testing.T) {
	var known []string
	for _, m := range misuses {
		known = append(known, m.function)
	}
	for name := range permitted {
		if slices.Contains(known, name) {
			t.Errorf("%s is in both tables", name)
		}
		known = append(known, name)
	}
	exported := exportedFunctions(t)
	for _, name := range exported {
		if !slices.Contains(known, name) {
			t.Errorf("no table has %s: add a call with each invalid argument, or the reason why it needs no row", name)
		}
	}
	for _, name := range known {
		if !slices.Contains(exported, name) {
			t.Errorf("the tables have %s, which takes no argument, or is not exported", name)
		}
	}
}

// exportedFunctions returns the exported functions of the package that have parameters, and the methods,
// as Type.Method.
func exportedFunctions(t *testing.T) (names []string) {
	files, err := os.ReadDir(".")
	noError(t, err)
	for _, f := range files {
		if !strings.HasSuffix(f.Name(), ".go") || strings.HasSuffix(f.Name(), "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), f.Name(), nil, 0)
		noError(t, err)
		for _, d := range file.Decls {
			d, ok := d.(*ast.FuncDecl)
			if !ok || !d.Name.IsExported() || d.Type.Params.NumFields() == 0 {
				continue
			}
			name := d.Name.Name
			if d.Recv != nil {
				receiver := d.Recv.List[0].Type
				if star, ok := receiver.(*ast.StarExpr); ok {
					receiver = star.X
				}
				if name = receiver.(*ast.Ident).Name + "." + name; !ast.IsExported(name) {
					continue
				}
			}
			names = append(names, name)
		}
	}
	return names
}

// The kinds of segments, and the other constants, are those of the simulation: their names are right.
func TestNamesOfKinds(t *testing.T) {
	for k, want := range map[looptest.SegmentKind]string{
		looptest.SYN: "SYN", looptest.SYNACK: "SYN-ACK", looptest.Data: "data", looptest.ACK: "ACK", looptest.FIN: "FIN", looptest.Urgent: "urgent",
		looptest.RST: "RST", looptest.Probe: "probe", looptest.Datagram: "datagram", looptest.Unreachable: "unreachable",
	} {
		if got := k.String(); got != want {
			t.Errorf("the kind %d is %q, want %q", k, got, want)
		}
	}
	if got := looptest.SegmentKind(200).String(); got != "SegmentKind(200)" {
		t.Errorf("an unknown kind is %q", got)
	}
}
