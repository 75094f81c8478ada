package dns

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pollux-io/pollux"
	"github.com/pollux-io/pollux/internal/dnswire"
	"github.com/pollux-io/pollux/internal/exchange"
	"github.com/pollux-io/pollux/internal/exchange/exchangetest"
	"github.com/pollux-io/pollux/internal/testkit"
	"golang.org/x/net/dns/dnsmessage"
)

// records are what a test's server has: by name and type, in the order of the server.
type records map[string][]dnsmessage.ResourceBody

func dnsName(text string) dnsmessage.Name { return dnsmessage.MustNewName(text) }

// typeOf returns the type of a body of records.
func typeOf(b dnsmessage.ResourceBody) (t dnsmessage.Type) {
	switch b.(type) {
	case *dnsmessage.AResource:
		t = dnsmessage.TypeA
	case *dnsmessage.AAAAResource:
		t = dnsmessage.TypeAAAA
	case *dnsmessage.CNAMEResource:
		t = dnsmessage.TypeCNAME
	case *dnsmessage.MXResource:
		t = dnsmessage.TypeMX
	case *dnsmessage.NSResource:
		t = dnsmessage.TypeNS
	case *dnsmessage.PTRResource:
		t = dnsmessage.TypePTR
	case *dnsmessage.SOAResource:
		t = dnsmessage.TypeSOA
	case *dnsmessage.SRVResource:
		t = dnsmessage.TypeSRV
	case *dnsmessage.TXTResource:
		t = dnsmessage.TypeTXT
	}
	return t
}

// udp answers a query, with CNAMEs followed.
func (z records) udp(q []byte) []exchangetest.Message {
	var m dnsmessage.Message
	if err := m.Unpack(q); err != nil {
		panic(err)
	}
	m.Response, m.RecursionAvailable, m.Additionals = true, true, nil
	name, typ := strings.ToLower(m.Questions[0].Name.String()), m.Questions[0].Type
	if name == "fails." {
		m.RCode = dnsmessage.RCodeServerFailure
	} else if _, ok := z[name]; !ok {
		m.RCode = dnsmessage.RCodeNameError
	}
	for range len(z) {
		next := ""
		for _, b := range z[name] {
			alias, isAlias := b.(*dnsmessage.CNAMEResource)
			if typeOf(b) == typ || isAlias {
				m.Answers = append(m.Answers, dnsmessage.Resource{Header: dnsmessage.ResourceHeader{Name: dnsName(name), Class: dnsmessage.ClassINET, TTL: 60}, Body: b})
			}
			if isAlias && typ != dnsmessage.TypeCNAME {
				next = alias.CNAME.String()
			}
		}
		if name = next; name == "" {
			break
		}
	}
	if len(m.Answers) == 0 {
		soa := &dnsmessage.SOAResource{NS: dnsName("."), MBox: dnsName("."), MinTTL: 30}
		m.Authorities = []dnsmessage.Resource{{Header: dnsmessage.ResourceHeader{Name: dnsName("."), Class: dnsmessage.ClassINET, TTL: 30}, Body: soa}}
	}
	return []exchangetest.Message{must(m.Pack())}
}

var netRecords = records{
	"a.example.":     {&dnsmessage.AResource{A: [4]byte{192, 0, 2, 1}}, &dnsmessage.AAAAResource{AAAA: netip.MustParseAddr("2001:db8::5").As16()}},
	"alias.example.": {&dnsmessage.CNAMEResource{CNAME: dnsName("a.example.")}},
	"example.": {
		&dnsmessage.MXResource{Pref: 20, MX: dnsName("b.example.")}, &dnsmessage.MXResource{Pref: 10, MX: dnsName("a.example.")},
		&dnsmessage.TXTResource{TXT: []string{"one ", "\"two\" \xff"}}, &dnsmessage.TXTResource{TXT: []string{"three"}},
		&dnsmessage.NSResource{NS: dnsName("ns.example.")},
		&dnsmessage.SOAResource{NS: dnsName("ns.example."), MBox: dnsName("admin.example."), Serial: 4294967295, Refresh: 1, Retry: 2, Expire: 3, MinTTL: 30},
	},
	"_x._tcp.example.":            {&dnsmessage.SRVResource{Priority: 1, Weight: 2, Port: 443, Target: dnsName("a.example.")}},
	"1.2.0.192.in-addr.arpa.":     {&dnsmessage.CNAMEResource{CNAME: dnsName("1.0/8.2.0.192.in-addr.arpa.")}},
	"1.0/8.2.0.192.in-addr.arpa.": {&dnsmessage.PTRResource{PTR: dnsName("a.example.")}},
}

// onNetResolver runs f with NetResolver in a bubble. Package net makes its state outside, as it outlives the bubble.
func onNetResolver(t *testing.T, c Config, f func(r *testResolver, n *net.Resolver), servers ...*exchangetest.Server) {
	t.Helper()
	refuse := func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("no server") }
	if _, err := (&net.Resolver{PreferGo: true, Dial: refuse}).LookupHost(t.Context(), "prepare.invalid."); err == nil {
		t.Fatal("a resolver without servers has an answer")
	}
	onResolver(t, c, files{}, func(r *testResolver) { f(r, r.NetResolver()) }, servers...)
}

// Every method of net.Resolver gets what our servers have.
func TestNetResolver(t *testing.T) {
	s := &exchangetest.Server{UDP: netRecords.udp}
	onNetResolver(t, Config{}, func(r *testResolver, n *net.Resolver) {
		ctx := r.T.Context()
		for what, c := range map[string]struct {
			lookup func() (any, error)
			want   string
		}{
			"host": {func() (any, error) {
				a, err := n.LookupHost(ctx, "alias.example.")
				slices.Sort(a)
				return a, err
			}, "[192.0.2.1 2001:db8::5]"},
			"IP address": {func() (any, error) {
				a, err := n.LookupNetIP(ctx, "ip4", "a.example.")
				return a, err
			}, "[192.0.2.1]"},
			"CNAME": {func() (any, error) { return n.LookupCNAME(ctx, "alias.example.") }, "a.example."},
			"MX": {func() (any, error) {
				mx, err := n.LookupMX(ctx, "example.")
				return fmt.Sprint(*mx[0], *mx[1]), err
			}, "{a.example. 10} {b.example. 20}"},
			"TXT": {func() (any, error) { return n.LookupTXT(ctx, "example.") }, "[one \"two\" \xff three]"},
			"NS": {func() (any, error) {
				ns, err := n.LookupNS(ctx, "example.")
				return ns[0].Host, err
			}, "ns.example."},
			"SRV": {func() (any, error) {
				name, srv, err := n.LookupSRV(ctx, "x", "tcp", "example.")
				return fmt.Sprintf("%s %v", name, *srv[0]), err
			}, "_x._tcp.example. {a.example. 443 1 2}"},
			"address": {func() (any, error) { return n.LookupAddr(ctx, "192.0.2.1") }, "[a.example.]"},
		} {
			if got, err := c.lookup(); err != nil || fmt.Sprint(got) != c.want {
				t.Errorf("%s: %v, %v; want %s", what, got, err, c.want)
			}
		}
		r.wantAnswer("alias.example.", PathCache, "192.0.2.1", "2001:db8::5")
		queries := s.Queries[0]
		if _, err := n.LookupTXT(ctx, "example."); err != nil || s.Queries[0] != queries {
			t.Errorf("%v, %d queries for what is in the cache", err, s.Queries[0]-queries)
		}
	}, s)
}

// Errors are what package net makes of those of a server.
func TestNetResolverErrors(t *testing.T) {
	s := &exchangetest.Server{UDP: netRecords.udp}
	onNetResolver(t, Config{Attempts: 1}, func(r *testResolver, n *net.Resolver) {
		for name, want := range map[string]struct{ notFound, temporary bool }{
			"missing.": {notFound: true}, "a.example.": {notFound: true}, "fails.": {temporary: true},
		} {
			_, err := n.LookupTXT(r.T.Context(), name)
			if e, ok := errors.AsType[*net.DNSError](err); !ok || e.IsNotFound != want.notFound || e.IsTemporary != want.temporary {
				t.Errorf("%s: %#v, want %+v", name, err, want)
			}
		}
		r.Close()
		began := time.Now()
		if _, err := n.LookupTXT(r.T.Context(), "example."); err == nil || !strings.Contains(err.Error(), ErrClosed.Error()) || time.Since(began) > time.Second {
			t.Errorf("%v after %v, want ErrClosed", err, time.Since(began))
		}
	}, s)
}

// Package net has a timeout of its own: what takes us longer answers its next try.
func TestNetResolverDeadServer(t *testing.T) {
	dead := &exchangetest.Server{UDP: func([]byte) []exchangetest.Message { return nil }}
	s := &exchangetest.Server{UDP: netRecords.udp}
	onNetResolver(t, Config{Timeout: 7 * time.Second, Attempts: 1}, func(r *testResolver, n *net.Resolver) {
		got, err := n.LookupTXT(r.T.Context(), "example.")
		if err != nil || len(got) != 2 || dead.Queries[0] != 1 || s.Queries[0] != 1 {
			t.Errorf("%q, %v; %d and %d queries, want one for each server", got, err, dead.Queries[0], s.Queries[0])
		}
	}, dead, s)
}

// When the context of a lookup is canceled, the lookup returns at once, and nothing goes on.
func TestNetResolverCanceled(t *testing.T) {
	s := &exchangetest.Server{UDP: func([]byte) []exchangetest.Message { return nil }}
	onNetResolver(t, Config{}, func(r *testResolver, n *net.Resolver) {
		for what, lookup := range map[string]func(context.Context) error{
			"TXT":  func(ctx context.Context) error { _, err := n.LookupTXT(ctx, "example."); return err },
			"host": func(ctx context.Context) error { _, err := n.LookupHost(ctx, "example."); return err },
		} {
			ctx, cancel := context.WithCancel(r.T.Context())
			time.AfterFunc(time.Second, cancel)
			began := time.Now()
			if err := lookup(ctx); err == nil || time.Since(began) > time.Second+time.Millisecond {
				t.Errorf("%s: %v after %v", what, err, time.Since(began))
			}
			time.Sleep(time.Millisecond)
			if flights, waiters := r.flights.InFlight(); flights+waiters != 0 {
				t.Errorf("%s: %d queries go on, with %d waiters", what, flights, waiters)
			}
		}
	}, s)
}

// A connection is a stream with deadlines, as package net expects it of one to a server.
func TestServerConn(t *testing.T) {
	s := &exchangetest.Server{UDP: func(q []byte) []exchangetest.Message {
		if name, _ := questionOf(q); name == "silent." {
			return nil
		}
		return netRecords.udp(q)
	}}
	query := func(name string) []byte {
		m := dnsmessage.Message{Header: dnsmessage.Header{ID: 4711, RecursionDesired: true}, Questions: []dnsmessage.Question{{Name: dnsName(name), Type: dnsmessage.TypeSOA, Class: dnsmessage.ClassINET}}}
		return exchangetest.Frame(must(m.Pack()))
	}
	onResolver(t, Config{}, files{}, func(r *testResolver) {
		c := must(r.dialServer(r.T.Context(), "udp", "192.0.2.53:53"))
		if _, ok := c.(net.PacketConn); ok {
			t.Error("package net takes it for a datagram socket")
		}
		for _, b := range query("example.") {
			if n, err := c.Write([]byte{b}); n != 1 || err != nil {
				t.Fatal(n, err)
			}
		}
		if _, err := c.Write(query("a.example.")); !errors.Is(err, errOneQuery) {
			t.Errorf("%v for a second query", err)
		}
		var m dnsmessage.Message
		if err := m.Unpack(must(exchangetest.ReadFrame(io.MultiReader(c)))); err != nil || m.ID != 4711 || !m.RecursionDesired || !m.RecursionAvailable || len(m.Answers) != 1 {
			t.Fatalf("%+v, %v", m, err)
		}
		if soa := m.Answers[0].Body.(*dnsmessage.SOAResource); soa.Serial != 4294967295 || soa.MBox.String() != "admin.example." || soa.MinTTL != 30 || soa.Refresh != 1 {
			t.Errorf("%+v", soa)
		}
		must(c.Write(query("silent.")))
		began := time.Now()
		c.SetDeadline(began.Add(time.Hour))
		time.AfterFunc(time.Second, func() { c.SetReadDeadline(time.Now().Add(time.Second)) })
		if _, err := c.Read(make([]byte, 9)); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(began) != 2*time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		if _, err := c.Write(query("a.example.")); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%v of a write after the deadline", err)
		}
		c.SetDeadline(time.Time{})
		time.AfterFunc(time.Second, func() { c.Close() })
		if _, err := c.Read(make([]byte, 9)); !errors.Is(err, net.ErrClosed) {
			t.Errorf("%v of a read while the connection closes", err)
		}
		if _, err := c.Write([]byte{0}); !errors.Is(err, net.ErrClosed) || !errors.Is(c.Close(), net.ErrClosed) || !errors.Is(c.SetDeadline(time.Time{}), net.ErrClosed) {
			t.Errorf("%v after Close", err)
		}
		time.Sleep(time.Millisecond)
		if flights, _ := r.flights.InFlight(); flights != 0 {
			t.Errorf("Close leaves %d queries", flights)
		}
	}, s)
}

// A message that is no query is an error, and has no effect.
func TestServerConnGarbage(t *testing.T) {
	onResolver(t, Config{}, files{}, func(r *testResolver) {
		for _, b := range []string{"\x00\x00", "\x00\x02ab", "\x00\x0c\x00\x01\x80\x00\x00\x01\x00\x00\x00\x00\x00\x00", "\x00\x13\x00\x01\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\xc0\x0c\x00\x00\x10\x00\x01"} {
			c := must(r.dialServer(r.T.Context(), "udp", "192.0.2.53:53"))
			if _, err := c.Write([]byte(b)); !errors.Is(err, errBadQuery) {
				t.Errorf("%q: %v", b, err)
			}
			c.Close()
		}
	}, &exchangetest.Server{UDP: exchangetest.Honest})
}

// A response that is too long for a message is cut between records, and marked so.
func TestNetQueryTruncates(t *testing.T) {
	m := dnsmessage.Message{Questions: []dnsmessage.Question{{Name: dnsName("a."), Type: dnsmessage.TypeTXT, Class: dnsmessage.ClassINET}}}
	q := must(parseQuery(must(m.Pack())))
	var a Answer
	for range 300 {
		a.Records = append(a.Records, Record{Name: "a.", Type: TypeTXT, Text: []string{strings.Repeat("x", 255)}})
	}
	b := q.response(a, nil)
	if err := m.Unpack(b[lengthBytes:]); err != nil || !m.Truncated || len(m.Answers) != (65535-len(q.head))/268 {
		t.Errorf("%v, truncated %v, %d answers", err, m.Truncated, len(m.Answers))
	}
	a.Records = a.Records[:200]
	if err := m.Unpack(q.response(a, nil)[lengthBytes:]); err != nil || m.Truncated || len(m.Answers) != 200 {
		t.Errorf("%v, truncated %v, %d answers", err, m.Truncated, len(m.Answers))
	}
	for _, bad := range []Record{
		{Name: "a..", Type: TypeTXT},
		{Name: "a.", Type: TypeA},
		{Name: "a.", Type: TypeAAAA, Addr: netip.MustParseAddr("192.0.2.1")},
		{Name: "a.", Type: TypeTXT, Text: []string{strings.Repeat("x", 256)}},
		{Name: "a.", Type: TypeSOA, Value: "a. b. 1 2 3 4 x"},
		{Name: "a.", Type: TypeMX, Target: "b..c"},
		{Name: "a.", Type: 99, Data: make([]byte, 1<<16)},
	} {
		a.Records = append(a.Records[:1:1], bad)
		if err := m.Unpack(q.response(a, nil)[lengthBytes:]); err != nil || m.RCode != dnsmessage.RCodeServerFailure || len(m.Answers) != 0 {
			t.Errorf("%+v: %v, %v with %d answers", bad.Type, err, m.RCode, len(m.Answers))
		}
	}
}

// No message makes the connection fail, and every response can be parsed.
func FuzzNetQuery(f *testing.F) {
	f.Add([]byte("\x00\x01\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01a\x00\x00\x10\x00\x01"))
	f.Add([]byte("\x00\x01\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x10\x00\x01"))
	f.Fuzz(func(t *testing.T, msg []byte) {
		q, err := parseQuery(msg)
		if err != nil {
			return
		}
		a := Answer{Records: []Record{{Name: q.name.String(), Type: TypeTXT, Text: []string{"x"}}}}
		var p dnsmessage.Parser
		h, err := p.Start(q.response(a, nil)[lengthBytes:])
		if err != nil || !h.Response || h.RCode != dnsmessage.RCodeSuccess {
			t.Fatalf("%+v, %v", h, err)
		}
		if err := p.SkipAllQuestions(); err != nil {
			t.Fatal(err)
		}
		if answers, err := p.AllAnswers(); err != nil || len(answers) != 1 {
			t.Skip("dnsmessage does not take names with dots in labels: ", err)
		}
	})
}

// An HTTP client reaches a name of our hosts file by NetResolver.
func TestNetResolverHTTP(t *testing.T) {
	testkit.CheckLeaks(t)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") }))
	defer server.Close()
	c := Config{Servers: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:1")}, Timeout: testkit.Watchdog}
	files{hosts: "127.0.0.1 web.example\n"}.write(t, &c)
	r := must(New(c))
	defer r.Close()
	transport := &http.Transport{DialContext: (&net.Dialer{Resolver: r.NetResolver()}).DialContext}
	defer transport.CloseIdleConnections()
	_, port, _ := net.SplitHostPort(server.Listener.Addr().String())
	resp, err := (&http.Client{Transport: transport}).Get("http://web.example.:" + port)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); string(body) != "hello" {
		t.Errorf("%q, %v", body, err)
	}
}

// A name without records of the type exists, unlike one that is not found.
func TestRcodeOf(t *testing.T) {
	for err, want := range map[error]dnswire.Rcode{
		nil: dnswire.RcodeSuccess, &Error{Err: ErrNoData}: dnswire.RcodeSuccess, &Error{Err: ErrNoName}: dnswire.RcodeNXDomain,
		&Error{Err: ErrClosed}: dnswire.RcodeServerFailure, &Error{Err: exchange.ErrTimeout}: dnswire.RcodeServerFailure,
		&Error{Err: pollux.ErrBadArgument}: dnswire.RcodeNotImplemented,
	} {
		if got := rcodeOf(err); got != want {
			t.Errorf("%v: %v, want %v", err, got, want)
		}
	}
}
