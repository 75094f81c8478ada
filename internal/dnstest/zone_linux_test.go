package dnstest

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Sizes of the RRsets of the zones.
const (
	// overUDP records of 16 octets exceed what queries allow for UDP, 1,232 octets, and overLimit what any server
	// sends over UDP, 4,096 octets.
	overUDP, overLimit = 100, 300
	// names is how many names n0, n1… there are.
	names = 10_000
)

// A TXT string has 255 octets at most.
var longText = strings.Repeat("0123456789abcdef", 15) + "0123456789abcde"

var longLabel = strings.Repeat("l", 63)

// zones are the contents of the zone files, by zone.
func zones() map[string]string {
	return map[string]string{
		".":                         head("."),
		"example.":                  exampleZone(),
		"other.":                    head("other.") + "target A 192.0.2.70\ntarget AAAA 2001:db8::70\nwww A 192.0.2.71\n",
		"brief.":                    "$ORIGIN brief.\n$TTL 1\n@ SOA ns.brief. mail.brief. 1 3600 600 86400 1\n@ NS ns.brief.\nns A 192.0.2.53\na A 192.0.2.80\n",
		"corp.example.":             head("corp.example.") + "www A 192.0.2.90\nonly A 192.0.2.91\na.b A 192.0.2.92\nempty TXT x\n",
		"2.0.192.in-addr.arpa.":     head("2.0.192.in-addr.arpa.") + "1 PTR v4.example.\n2 PTR both.example.\n2 PTR alias.example.\n",
		"8.b.d.0.1.0.0.2.ip6.arpa.": head("8.b.d.0.1.0.0.2.ip6.arpa.") + "1" + strings.Repeat(".0", 23) + " PTR v6.example.\n",
	}
}

// head begins a zone whose negative answers have a TTL of a minute.
func head(zone string) string {
	return "$ORIGIN " + zone + "\n$TTL 300\n@ SOA ns.example. mail.example. 1 3600 600 86400 60\n@ NS ns.example.\n"
}

const exampleRecords = `
ns A 192.0.2.53
v4 A 192.0.2.1
v6 AAAA 2001:db8::1
both A 192.0.2.2
both AAAA 2001:db8::2
many A 192.0.2.3
many A 192.0.2.4
many A 192.0.2.5
many AAAA 2001:db8::3
many AAAA 2001:db8::4
Mixed.CASE A 192.0.2.6
alias CNAME both
chain1 CNAME chain2
chain2 CNAME chain3
chain3 CNAME both
cross CNAME target.other.
dangling CNAME nosuch
aliasnodata CNAME text
loop1 CNAME loop2
loop2 CNAME loop1
*.wild A 192.0.2.9
*.wild TXT "wild"
branch.below A 192.0.2.11
zero 0 A 192.0.2.10
mx MX 20 mail2
mx MX 10 mail1
nullmx MX 0 .
_sip._tcp SRV 20 0 5061 sip2
_sip._tcp SRV 10 60 5060 sip1
text TXT "hello" "two parts"
text TXT "v=spf1 -all"
binary TXT "\000\127\255\"\\ ;"
nothing TXT ""
service PTR my\032printer\.2._ipp._tcp.example.
My\032Printer\.2._ipp._tcp SRV 0 0 631 both
My\032Printer\.2._ipp._tcp TXT "txtvers=1"
\000\255\@.octets A 192.0.2.12
tree DNAME leaves
a.leaves A 192.0.2.13
caa CAA 0 issue "ca.example.net"
ssh SSHFP 4 2 123456789abcdef67890123456789abcdef67890123456789abcdef123456789
unknown TYPE65280 \# 4 0A000001
elsewhere NS ns.elsewhere
ns.elsewhere A 127.0.0.1
listener A 127.0.0.2
listener A 127.0.0.1
listener AAAA ::1
closed A 127.0.0.1
`

func exampleZone() string {
	var b strings.Builder
	b.WriteString(head("example.") + exampleRecords)
	fmt.Fprintf(&b, "longtext TXT \"%[1]s\" \"%[1]s\" \"%[1]s\"\n", longText)
	fmt.Fprintf(&b, "%[1]s.%[1]s.%[1]s.%[2]s A 192.0.2.14\n", longLabel, longLabel[:53])
	for i := range overUDP {
		fmt.Fprintf(&b, "big A 198.51.100.%d\n", i)
	}
	for i := range overLimit {
		fmt.Fprintf(&b, "huge A 10.1.%d.%d\n", i/256, i%256)
	}
	for i := range 20 {
		fmt.Fprintf(&b, "hugetext TXT \"%d\" \"%s\"\n", i, longText)
	}
	for i := range names {
		fmt.Fprintf(&b, "n%d A %v\nn%d AAAA %v\n", i, numbered(i)[0], i, numbered(i)[1])
	}
	return b.String()
}

// numbered returns the addresses of name n<i>.
func numbered(i int) [2]netip.Addr {
	hi, lo := byte(i>>8), byte(i)
	return [2]netip.Addr{netip.AddrFrom4([4]byte{10, 2, hi, lo}), netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 15: lo, 14: hi, 13: 1})}
}

func write(t testing.TB, dir, name, content string) string {
	t.Helper()
	file := filepath.Join(dir, name)
	if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

// nsd configures an authoritative server of all zones. The zone broken.example. has no file: NSD answers SERVFAIL.
func nsd(t testing.TB) func(dir string, addr netip.AddrPort) []string {
	program := path(t, "nsd")
	return func(dir string, addr netip.AddrPort) []string {
		var b strings.Builder
		fmt.Fprintf(&b, `server:
	ip-address: %v@%d
	username: ""
	chroot: ""
	zonesdir: "%s"
	database: ""
	pidfile: ""
	xfrdfile: "%[3]s/xfrd"
	xfrdir: "%[3]s"
	zonelistfile: "%[3]s/list"
	server-count: 1
	rrl-ratelimit: 0
	rrl-whitelist-ratelimit: 0
remote-control:
	control-enable: no
zone:
	name: "broken.example."
	zonefile: "missing"
`, addr.Addr(), addr.Port(), dir)
		for zone, content := range zones() {
			fmt.Fprintf(&b, "zone:\n\tname: %q\n\tzonefile: %q\n", zone, write(t, dir, "zone_"+zone, content))
		}
		return []string{program, "-d", "-c", write(t, dir, "nsd.conf", b.String())}
	}
}

// unbound configures a recursive server at several addresses, which asks upstream for all zones. It knows elsewhere.example.
// itself, drops queries for silent.example., and refuses those for refused.example.
func unbound(t testing.TB, upstream netip.AddrPort, more ...netip.AddrPort) func(dir string, addr netip.AddrPort) []string {
	program := path(t, "unbound")
	return func(dir string, addr netip.AddrPort) []string {
		var b strings.Builder
		b.WriteString("server:\n")
		for _, a := range append([]netip.AddrPort{addr}, more...) {
			fmt.Fprintf(&b, "\tinterface: %v@%d\n", a.Addr(), a.Port())
		}
		fmt.Fprintf(&b, `	access-control: 0.0.0.0/0 allow
	access-control: ::/0 allow
	do-daemonize: no
	username: ""
	chroot: ""
	directory: "%s"
	pidfile: ""
	use-syslog: no
	do-not-query-localhost: no
	module-config: "iterator"
	rrset-roundrobin: no
	minimal-responses: yes
	num-threads: 1
	local-zone: "2.0.192.in-addr.arpa." nodefault
	local-zone: "8.b.d.0.1.0.0.2.ip6.arpa." nodefault
	local-zone: "silent.example." deny
	local-zone: "refused.example." refuse
	local-zone: "elsewhere.example." static
	local-data: "www.elsewhere.example. 300 A 192.0.2.100"
remote-control:
	control-enable: no
forward-zone:
	name: "."
	forward-addr: %v@%d
`, dir, upstream.Addr(), upstream.Port())
		return []string{program, "-d", "-c", write(t, dir, "unbound.conf", b.String())}
	}
}

// dnsmasq configures a forwarder, which asks upstream. It stays the user that it is started by.
func dnsmasq(t testing.TB, upstream netip.AddrPort) func(dir string, addr netip.AddrPort) []string {
	program := path(t, "dnsmasq")
	return func(dir string, addr netip.AddrPort) []string {
		conf := fmt.Sprintf(`listen-address=%v
port=%d
bind-interfaces
no-resolv
no-hosts
keep-in-foreground
log-facility=-
pid-file=%s/pid
server=%v#%d
`, addr.Addr(), addr.Port(), dir, upstream.Addr(), upstream.Port())
		if os.Getuid() == 0 {
			conf += "user=root\n"
		}
		return []string{program, "-C", write(t, dir, "dnsmasq.conf", conf)}
	}
}
