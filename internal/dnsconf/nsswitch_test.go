package dnsconf

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// describe prints services with the actions that are not the defaults.
func describe(n *NSSwitch) string {
	var parts []string
	for i := range n.Hosts {
		s := &n.Hosts[i]
		text := s.Name
		if s.Understood() {
			text += "+"
		}
		for status, action := range s.On {
			if action != defaultActions[status] {
				text += fmt.Sprintf("[%s=%s]", []string{"success", "notfound", "unavail", "tryagain"}[status], []string{"continue", "return", "merge"}[action])
			}
		}
		parts = append(parts, text)
	}
	if n.Default {
		parts = append(parts, "default")
	}
	if n.Malformed {
		parts = append(parts, "malformed")
	}
	return strings.Join(parts, " ")
}

func TestParseNSSwitch(t *testing.T) {
	for _, c := range []struct {
		data, want string
		warnings   []string
	}{
		{"", "files+ dns+ default", nil},
		{"passwd: files\nnetworks: dns\n# hosts: x\n", "files+ dns+ default", nil},
		{"hosts: files dns\n", "files+ dns+", nil},
		{"\thosts :\tdns   FILES\r\n", "dns+ files+", nil},
		{"hosts: files mdns4_minimal [NOTFOUND=return] dns myhostname # comment", "files+ mdns4_minimal[notfound=return] dns+ myhostname+", nil},
		{"hosts: mymachines resolve [!UNAVAIL=return] files myhostname dns", "mymachines resolve[notfound=return][tryagain=return] files+ myhostname+ dns+", nil},
		{"hosts: dns[NotFound=Return]files", "dns+[notfound=return] files+", nil},
		{"hosts: files [success=continue tryagain=return] dns", "files+[success=continue][tryagain=return] dns+", nil},
		{"hosts: files [notfound=return] [notfound=continue] dns", "files+ dns+", nil},
		{"hosts: files [!success=return] dns", "files+[notfound=return][unavail=return][tryagain=return] dns+", nil},
		{"hosts: files [success=merge] dns", "files[success=merge] dns+", nil},
		{"hosts: files\nhosts: dns\n", "dns+", []string{"2:not portable"}},
		{"hosts files\nhosts: dns\n", "dns+", []string{"1:invalid"}},
		{"hosts:\n", "files+ dns+ default", []string{"1:invalid"}},
		{"hosts: [notfound=return] dns", "dns+ malformed", []string{"1:invalid"}},
		{"hosts: files [notfound=return dns", "files+[notfound=return] malformed", []string{"1:invalid", "1:invalid"}},
		{
			"hosts: files [nothing=return] [notfound=stop] [notfound] [=] [notfound=merge] [!success=merge] dns", "files+ dns+ malformed",
			slices.Repeat([]string{"1:invalid"}, 6),
		},
		{"hosts: files [] dns", "files+ dns+", nil},
		{"hosts: " + strings.Repeat("dns ", MaxServices) + "files", strings.Repeat("dns+ ", MaxServices) + "malformed", []string{"1:over a limit"}},
		{"hosts: \x1b]0; dns", "\x1b]0; dns+", nil},
		{"\x1b[2J\nhosts: dns", "dns+", []string{"1:invalid"}},
	} {
		got, warned := ParseNSSwitch(c.data)
		if describe(got) != c.want {
			t.Errorf("%q: %q, want %q", c.data, describe(got), c.want)
		}
		checkWarnings(t, warned, c.warnings...)
	}
}
