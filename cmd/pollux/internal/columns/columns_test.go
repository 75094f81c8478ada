package columns

import (
	"bytes"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

func TestOf(t *testing.T) {
	for columns, want := range map[string]int{"": Default, "40": 40, "0": Default, "-3": Default, "many": Default, "3": least, "99999": most} {
		t.Setenv("COLUMNS", columns)
		if got := Of(&bytes.Buffer{}); got != want {
			t.Errorf("COLUMNS=%s: %d, want %d", columns, got, want)
		}
	}
}

func TestWrap(t *testing.T) {
	for _, c := range []struct {
		text  string
		width int
		want  []string
	}{
		{"", 10, nil},
		{"a bc def", 4, []string{"a bc", "def"}},
		{"a  bc\ndef", 100, []string{"a bc def"}},
		{"antidisestablishment is long", 7, []string{"antidisestablishment", "is long"}},
		{"\u00fcber \u00e4\u00f6\u00fc", 8, []string{"\u00fcber \u00e4\u00f6\u00fc"}},
	} {
		if got := Wrap(c.text, c.width); !slices.Equal(got, c.want) {
			t.Errorf("Wrap(%q, %d) = %q, want %q", c.text, c.width, got, c.want)
		}
	}
}

// The shell runs a command that is broken into lines as the same command.
func TestCommandStaysOneCommand(t *testing.T) {
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("there is no sh to run the commands")
	}
	const command = `printf '%s|' one "two  three" '* - nofile 7' "a'b c" four=5   # a comment on it`
	for width := 10; width < 100; width++ {
		var b strings.Builder
		Command(&b, command, width, true)
		out, err := exec.Command(sh, "-c", b.String()).Output()
		if want := `one|two  three|* - nofile 7|a'b c|four=5|`; err != nil || string(out) != want {
			t.Errorf("%d columns: %v, %q, want %q\n%s", width, err, out, want, &b)
		}
	}
}
