package doctor

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"github.com/pollux-io/pollux/dns"
	"github.com/pollux-io/pollux/internal/testkit"
)

// configured returns a configuration in files of the test.
func configured(t *testing.T, resolv, nsswitch, hosts string) (c dns.Config, dir string) {
	t.Helper()
	t.Setenv("LOCALDOMAIN", "") // restores it
	os.Unsetenv("LOCALDOMAIN")
	t.Setenv("RES_OPTIONS", "")
	dir = testkit.TempDir(t)
	for name, text := range map[string]string{"resolv.conf": resolv, "nsswitch.conf": nsswitch, "hosts": hosts} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c.ResolvConf, c.NSSwitch, c.Hosts = filepath.Join(dir, "resolv.conf"), filepath.Join(dir, "nsswitch.conf"), filepath.Join(dir, "hosts")
	return c, dir
}

// The report has how Auto looks up names and why, the servers, the search list, and each warning with its line.
func TestNames(t *testing.T) {
	testkit.CheckLeaks(t)
	if runtime.GOOS != "linux" {
		t.Skip("skipped: the choice and the words for it are those of Linux")
	}
	c, dir := configured(t, "nameserver 192.0.2.53\nnameserver nonsense\nsearch a.test b.test\noptions rotate timeout:2 attempts:3\n",
		"hosts: files dns\n", "192.0.2.1 a\nnonsense b\n")
	n := names(c)
	if n.Source != "evented" || !strings.Contains(n.Why, "understood") || n.Error != "" {
		t.Errorf("%q, %q, %q", n.Source, n.Why, n.Error)
	}
	want := Names{
		Source: n.Source, Why: n.Why, Warnings: n.Warnings, Servers: []string{"192.0.2.53:53"},
		TimeoutMS: 2000, Attempts: 3, Rotate: true, Search: []string{"a.test.", "b.test.", "."},
	}
	if !reflect.DeepEqual(n, want) {
		t.Errorf("%+v, want %+v", n, want)
	}
	warnings := strings.Join(n.Warnings, "\n")
	if len(n.Warnings) != 2 || !strings.Contains(warnings, filepath.Join(dir, "resolv.conf")+":2: ") || !strings.Contains(warnings, filepath.Join(dir, "hosts")+":2: ") {
		t.Errorf("warnings %q", n.Warnings)
	}

	m := linux()
	m.names = c
	var b bytes.Buffer
	if err := examine(10, m).Print(&b, 400); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"\nNames\n  automatic  evented: ", "  servers    192.0.2.53:53; each is asked 3 times at most, and has 2s; queries begin at each in turn\n",
		"  search     a name without dots is looked up below a.test., then below b.test., then as it is\n",
		"  warning    " + filepath.Join(dir, "hosts") + ":2: ",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("want %q in\n%s", want, &b)
		}
	}
}

// Where the system's resolver is asked, the report has why, and the servers for other types.
func TestNamesByPool(t *testing.T) {
	testkit.CheckLeaks(t)
	if runtime.GOOS != "linux" {
		t.Skip("skipped: the choice and the words for it are those of Linux")
	}
	c, _ := configured(t, "nameserver 192.0.2.53\n", "hosts: files ldap dns\n", "")
	n := names(c)
	if n.Source != "pool" || n.Why != "nsswitch.conf has ldap" || len(n.Servers) != 1 || n.Error != "" {
		t.Errorf("%+v", n)
	}
}

// A configuration that cannot be used is an error of the report, not of the command.
func TestNamesError(t *testing.T) {
	n := names(dns.Config{Attempts: -1})
	if n.Source != "" || !strings.Contains(n.Error, "negative") {
		t.Errorf("%+v", n)
	}
	m := linux()
	m.names.Attempts = -1
	var b bytes.Buffer
	if err := examine(10, m).Print(&b, 200); err != nil || !strings.Contains(b.String(), "\nNames\n  error  dns: ") {
		t.Errorf("%v\n%s", err, &b)
	}
}
