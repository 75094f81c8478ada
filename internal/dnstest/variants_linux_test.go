package dnstest

import "strings"

// A variant is the content of the configuration files of the system. A file that is not in it does not exist.
type variant struct {
	name  string
	files map[string]string
	jobs  [][2]string // what and name; nil: defaultJobs
	// pool: Auto leaves names to the system's resolver.
	pool bool
	// autoOnly: Evented is not compared, as it asks DNS servers whatever nsswitch.conf demands.
	autoOnly bool
	// rotates: which server is asked first depends on the lookups before.
	rotates bool
}

const (
	oneServer  = "nameserver 127.0.0.1\n"
	filesFirst = "hosts: files dns\n"
	search     = "search corp.example example other\n"

	hostsFile = `# comment
127.0.0.1	localhost loopback
::1		localhost ip6-localhost
192.0.2.150	printer.example printer lp # after the names
2001:db8::150	printer.example
192.0.2.151	v4.example
192.0.2.152	only4
2001:db8::152	only6 Mixed
192.0.2.153	twice
192.0.2.154	twice
not-an-address	bad
192.0.2.155
fe80::1%lo	link
`
)

// resolvConf is a variant of one file, with the usual others.
func resolvConf(name, content string, jobs ...[2]string) variant {
	return variant{name: name, jobs: jobs, files: map[string]string{"resolv.conf": content, "nsswitch.conf": filesFirst, "hosts": "127.0.0.1 localhost\n"}}
}

func nsswitch(name, content string, pool bool) variant {
	return variant{
		name: name, pool: pool, jobs: hostsJobs, autoOnly: pool || !strings.HasPrefix(content, filesFirst),
		files: map[string]string{"resolv.conf": oneServer + search, "nsswitch.conf": content, "hosts": hostsFile},
	}
}

func without(v variant, file string) variant {
	delete(v.files, file)
	return v
}

var defaultJobs = [][2]string{
	{"ip", "www"},
	{"ip", "v4"},
	{"ip", "both"},
	{"ip", "v4.example"},
	{"ip", "v6.example."},
	{"ip", "both.example"},
	{"ip", "many.example."},
	{"ip", "chain1.example"},
	{"ip", "cross.example."},
	{"ip", "a.b"},
	{"ip", "nosuch"},
	{"ip", "nosuch.example."},
	{"ip", "text.example"},
	{"ip", "aliasnodata.example."},
	{"ip", "dangling.example."},
	{"ip", "big.example."},
	{"ip", "huge.example."},
	{"ip", "a.tree.example."},
	{"ip", "zero.example."},
	{"ip", "x.wild.example"},
	{"ip", "MIXED.case.example"},
	{"ip", "empty"},
	{"ip", "only"},
	{"ip", "_sip._tcp.example."},
	{"ip", "www.broken.example."},
	{"ip", "www.refused.example."},
	{"ip", "loop1.example."},
	{"ip", "www.broken.example"},
	{"ip", "127.0.0.9"},
	{"ip", "2001:db8::7"},
	{"ip", "fe80::1%lo"},
	{"ip", "1.2.3"},
	{"ip", ""},
	{"ip", "."},
	{"ip", "a..b"},
	{"ip", ".a"},
	{"ip", "x.onion"},
	{"ip", "-dash.example."},
	{"ip", "a b.example."},
	{"ip", `a\.b.example.`},
	{"ip", longLabel + "x.example."},
	{"cname", "v4.example"},
	{"cname", "alias.example."},
	{"cname", "cross.example."},
	{"cname", "www"},
	{"cname", "both"},
	{"cname", "nosuch.example."},
	{"cname", "a.tree.example."},
	{"MX", "mx.example."},
	{"MX", "mx"},
	{"MX", "nullmx.example."},
	{"MX", "v4.example."},
	{"MX", "nosuch.example."},
	{"MX", "www.broken.example."},
	{"NS", "example."},
	{"NS", "other"},
	{"TXT", "text.example."},
	{"TXT", "binary.example."},
	{"TXT", "longtext.example."},
	{"TXT", "nothing.example."},
	{"TXT", "hugetext.example."},
	{"TXT", "empty"},
	{"SRV", "_sip._tcp.example."},
	{"SRV", "_sip._tcp"},
	{"PTR", "192.0.2.1"},
	{"PTR", "192.0.2.2"},
	{"PTR", "2001:db8::1"},
	{"PTR", "192.0.2.99"},
}

// searchJobs are about the search list, and hostsJobs about the hosts file.
var (
	searchJobs = [][2]string{
		{"ip", "www"},
		{"ip", "v4"},
		{"ip", "a.b"},
		{"ip", "www.other"},
		{"ip", "v4.example"},
		{"ip", "v4.example."},
		{"ip", "nosuch"},
		{"ip", "no.such"},
		{"ip", "empty"},
		{"ip", "target"},
		{"ip", "www."},
		{"MX", "mx"},
		{"TXT", "empty"},
		{"cname", "both"},
		{"ip", "a.b.c.d.e.f.g.h.i.j.k.l.m.wild.example"},
		{"ip", "a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p.wild.example"},
		{"ip", "broken"},
	}
	hostsJobs = [][2]string{
		{"ip", "printer"},
		{"ip", "PRINTER"},
		{"ip", "lp"},
		{"ip", "printer.example"},
		{"ip", "printer.example."},
		{"ip", "v4.example"},
		{"ip", "v4"},
		{"ip", "only4"},
		{"ip", "only6"},
		{"ip", "mixed"},
		{"ip", "twice"},
		{"ip", "bad"},
		{"ip", "link"},
		{"ip", "nosuch"},
		{"ip", "localhost"},
		{"ip", "loopback"},
		{"ip", "www"},
		{"ip", "both.example"},
		{"cname", "printer"},
		{"cname", "lp"},
		{"cname", "printer.example"},
		{"cname", "v4.example"},
		{"cname", "mixed"},
		{"cname", "both.example"},
	}
	failingJobs = [][2]string{
		{"ip", "v4.example."}, {"ip", "both.example."}, {"ip", "nosuch.example."}, {"ip", "www"}, {"MX", "mx.example."}, {"ip", "huge.example."},
	}
)

func variants() []variant {
	all := []variant{
		resolvConf("plain", oneServer),
		resolvConf("search", oneServer+search),
		resolvConf("IPv6 server", "nameserver ::1\n"),
		resolvConf("ndots 0", oneServer+search+"options ndots:0\n", searchJobs...),
		resolvConf("ndots 1", oneServer+search+"options ndots:1\n", searchJobs...),
		resolvConf("ndots 2", oneServer+search+"options ndots:2\n", searchJobs...),
		resolvConf("ndots 15", oneServer+search+"options ndots:15\n", searchJobs...),
		resolvConf("ndots 99", oneServer+search+"options ndots:99\n", searchJobs...),
		resolvConf("domain", oneServer+"domain example\n", searchJobs...),
		resolvConf("domain after search", oneServer+search+"domain other\n", searchJobs...),
		resolvConf("search twice", oneServer+search+"search other\n", searchJobs...),
		resolvConf("search of the root", oneServer+"search . example\n", searchJobs...),
		resolvConf("comments", "# c\n; c\n\n"+oneServer+"search\tcorp.example \t example\t\noptions\tndots:1   timeout:7\n#nameserver 127.0.0.4\n", searchJobs...),
		resolvConf("no final newline", "nameserver 127.0.0.1", failingJobs...),
		resolvConf("edns0 trust-ad", oneServer+"options edns0 trust-ad\n", failingJobs...),
		resolvConf("use-vc", oneServer+"options use-vc\n", failingJobs...),
		resolvConf("single-request", oneServer+"options single-request\n", failingJobs...),
		resolvConf("single-request-reopen", oneServer+"options single-request-reopen\n", failingJobs...),
		resolvConf("no servers", search, searchJobs...),
		resolvConf("empty", "", failingJobs...),
		resolvConf("bad server", "nameserver what\nnameserver 127.0.0.1\nnameserver\n", failingJobs...),
		resolvConf("four servers", "nameserver 127.0.0.4\nnameserver 127.0.0.4\nnameserver 127.0.0.1\nnameserver 127.0.0.3\n", failingJobs...),
		resolvConf("attempts 5", "nameserver 127.0.0.4\noptions attempts:5\n", failingJobs...),
		resolvConf("attempts 0", "nameserver 127.0.0.4\noptions attempts:0\n", failingJobs...),
		resolvConf("first refuses", "nameserver 127.0.0.4\nnameserver 127.0.0.1\n", failingJobs...),
		resolvConf("first fails", "nameserver 127.0.0.5\nnameserver 127.0.0.1\n", failingJobs...),
		resolvConf("all fail", "nameserver 127.0.0.5\n", failingJobs...),
		resolvConf("first is silent", "nameserver 127.0.0.3\nnameserver 127.0.0.1\noptions timeout:1 attempts:5\n", [2]string{"ip", "v4.example."}, [2]string{"MX", "mx.example."}),
		resolvConf("all are silent", "nameserver 127.0.0.3\noptions timeout:1 attempts:2\n", [2]string{"ip", "v4.example."}),
		without(resolvConf("no resolv.conf", ""), "resolv.conf"),
		without(resolvConf("no hosts", oneServer), "hosts"),
		without(resolvConf("no nsswitch.conf", oneServer), "nsswitch.conf"),
		nsswitch("files dns", filesFirst, false),
		nsswitch("files mdns4_minimal", "hosts: files mdns4_minimal [NOTFOUND=return] dns\n", false),
		nsswitch("files then unavailable", "hosts: files [!UNAVAIL=return] dns\n", true),
		nsswitch("dns files", "hosts: dns files\n", true),
		nsswitch("dns only", "hosts: dns\n", false),
		nsswitch("files only", "hosts: files\n", true),
		nsswitch("resolve", "hosts: files resolve [!UNAVAIL=return] dns\n", true),
		nsswitch("myhostname", "hosts: files dns myhostname\n", false),
		nsswitch("empty nsswitch.conf", "passwd: files\n", false),
	}
	rotate := resolvConf("rotate", oneServer+"nameserver 127.0.0.2\noptions rotate\n", failingJobs...)
	rotate.rotates = true
	unknown := resolvConf("unknown option", oneServer+"options foo bar:3\n", failingJobs...)
	keyword := resolvConf("unknown keyword", oneServer+"sortlist 192.0.2.0\nwhat 3\n", failingJobs...)
	unknown.pool, keyword.pool = true, true
	return append(all, rotate, unknown, keyword)
}
