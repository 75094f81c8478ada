package dns

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
)

// Auto asks DNS servers only where the system's resolver would do just that.
func TestAuto(t *testing.T) {
	if runtime.GOOS == "windows" || runtime.GOOS == "darwin" {
		t.Skip("Auto always asks this system's resolver, which has sources besides DNS servers")
	}
	for _, c := range []struct {
		files
		name string
		pool string // a part of the reason
	}{
		{files{}, "example.com", ""},
		{files{nsswitch: "hosts: files dns\n"}, "example.com", ""},
		{files{nsswitch: "hosts: files mdns4_minimal [NOTFOUND=return] dns\n"}, "example.com", ""},
		{files{nsswitch: "hosts: files dns myhostname\n"}, "example.com", ""},
		{files{nsswitch: "hosts: files dns myhostname\n"}, "_gateway", "myhostname"},
		{files{nsswitch: "hosts: files resolve dns\n"}, "example.com", "resolve"},
		{files{nsswitch: "hosts: files\n"}, "example.com", "does not have dns"},
		{files{nsswitch: "hosts: dns files\n", hosts: testHosts}, "printer", "files after dns"},
		{files{nsswitch: "hosts: dns files\n", hosts: testHosts}, "example.com", ""},
		{files{nsswitch: "hosts: files [NOTFOUND=return] dns\n"}, "example.com", "ends the lookup"},
		{files{}, "printer.local.", "multicast"},
		{files{resolv: "sortlist 10.0.0.0\n"}, "example.com", "resolv.conf has"},
		{files{resolv: "nameserver 192.0.2.53\noptions something-new\n"}, "example.com", "resolv.conf has"},
	} {
		t.Run(fmt.Sprintf("%s %+v", c.name, c.files), func(t *testing.T) {
			var config Config
			c.files.write(t, &config)
			r := must(New(config))
			defer r.Close()
			switch reason := poolReason(r.source.Snapshot(0), c.name); {
			case c.pool == "" && reason != "", !strings.Contains(reason, c.pool):
				t.Errorf("reason %q, want %q", reason, c.pool)
			}
		})
	}
}
