package doctor

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// The report has the way in which records are decrypted, and the reason of the fall-back.
func TestTLS(t *testing.T) {
	const child = "POLLUX_TEST_CHILD"
	if os.Getenv(child) != "" {
		var b bytes.Buffer
		if err := examine(10, linux()).Print(&b, 1000); err != nil {
			t.Fatal(err)
		}
		_, text, _ := strings.Cut(b.String(), "\nTLS\n")
		os.Stdout.WriteString(text)
		return
	}
	for mode, want := range map[string]string{
		"":        "  records are decrypted where they were received",
		"copying": "  each connection keeps buffers as large as its largest record: TLS copies records: POLLUX_TLS=copying is set",
	} {
		c := exec.Command(os.Args[0], "-test.run=^TestTLS$")
		c.Env = append(os.Environ(), child+"=1", "POLLUX_TLS="+mode)
		out, err := c.CombinedOutput()
		if err != nil || !strings.HasPrefix(string(out), want) {
			t.Errorf("POLLUX_TLS=%q: %v, %q, want %q", mode, err, out, want)
		}
	}
}
