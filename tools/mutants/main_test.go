package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// lib is a module with two functions and a test of each.
const lib = "testdata/lib"

// Every patch of the repository matches the sources. That its mistake is found takes longer: .ci/run
// mutants.
func TestPatchesMatch(t *testing.T) {
	mutants, err := load("patches")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range mutants {
		if _, err := m.apply("../.."); err != nil {
			t.Error(err)
		}
	}
}

// runPatches writes patches to a folder, and returns what run reports about them.
func runPatches(t *testing.T, patches map[string]string, parts ...string) (output string, err error) {
	t.Helper()
	folder := t.TempDir()
	for name, text := range patches {
		if err := os.WriteFile(filepath.Join(folder, name+".diff"), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	var out bytes.Buffer
	err = run(&out, lib, folder, 1, true, parts)
	return out.String(), err
}

// sumPatch is a patch whose mistake TestSum finds.
const sumPatch = `# Sum subtracts.
test . -run=^TestSum$

--- lib.go
-	return a + b
+	return a - b
 }
`

// twicePatch is a patch whose mistake TestTwice finds, with an argument.
const twicePatch = `# Twice returns
# its argument.
test TWICE=checked . -run=^TestTwice$

--- lib.go
 func Twice(a int) int {
-	return a + a
+	return a
`

func TestMutants(t *testing.T) {
	for _, test := range []struct {
		name    string
		patches map[string]string
		parts   []string
		want    string // a regular expression for the output
		fails   string // the error contains it; "": there is none
	}{
		{
			"both are caught",
			map[string]string{"sum": sumPatch, "twice": twicePatch},
			nil,
			`(?s)^2 commands pass .*caught +sum .* \. TestSum\n.*Sum\(1, 2\) = -1\n.*caught +twice .* \. TestTwice\n.*2 mutants, 2 caught`, "",
		},
		{"one is chosen", map[string]string{"sum": sumPatch, "twice": twicePatch}, []string{"twi"}, `(?s)^1 commands .*caught +twice`, ""},
		{
			"one survives",
			map[string]string{"sum": sumPatch, "twice": strings.Replace(twicePatch, "TWICE=checked ", "", 1)},
			nil,
			`(?s)caught +sum .*SURVIVED +twice .*go test \. -run=\^TestTwice\$ passes\n\tTwice returns its argument\.\n`, "1 of 2 mistakes were not found",
		},
		{
			"one of two commands passes",
			map[string]string{"sum": strings.Replace(sumPatch, "\n\n", "\ntest . -run=^TestTwice$\n\n", 1)},
			nil,
			`SURVIVED +sum .*go test \. -run=\^TestTwice\$ passes`, "1 of 1 mistakes",
		},
		{
			"a mutant that does not build is not caught",
			map[string]string{"sum": strings.Replace(sumPatch, "a - b", "a - c", 1)},
			nil,
			`(?s)SURVIVED +sum .*it does not build\n.*undefined: c`, "1 of 1 mistakes",
		},
		{
			"a mutant that panics",
			map[string]string{"sum": strings.Replace(sumPatch, "return a - b", `panic("broken")`, 1)},
			nil,
			`(?s)caught +sum .* \. TestSum\n.*broken`, "",
		},
		{"no test", map[string]string{"sum": strings.Replace(sumPatch, "TestSum", "TestSun", 1)}, nil, `^$`, "runs no test"},
		{"a test that fails without a mistake", map[string]string{"sum": strings.Replace(sumPatch, "-run=^TestSum$", "-no.flag", 1)}, nil, `^$`, "without a mistake, go test . -no.flag fails"},
		{"moved code", map[string]string{"sum": strings.Replace(sumPatch, "-	return a + b", "-	return b + a", 1)}, nil, `^$`, "these lines occur 0 times in lib.go"},
		{"ambiguous code", map[string]string{"sum": strings.Replace(sumPatch, "-	return a + b\n", "", 1)}, nil, `^$`, "these lines occur 2 times in lib.go"},
		{"no file", map[string]string{"sum": strings.Replace(sumPatch, "lib.go", "bib.go", 1)}, nil, `^$`, "bib.go"},
		{"no name", map[string]string{"sum": sumPatch}, []string{"twice"}, `^$`, "no mutant"},
		{"no patch", nil, nil, `^$`, "no files"},
	} {
		t.Run(test.name, func(t *testing.T) {
			output, err := runPatches(t, test.patches, test.parts...)
			if !regexp.MustCompile(test.want).MatchString(output) {
				t.Errorf("the output does not match %q:\n%s", test.want, output)
			}
			switch {
			case test.fails == "" && err != nil:
				t.Error(err)
			case test.fails != "" && (err == nil || !strings.Contains(err.Error(), test.fails)):
				t.Errorf("the error is %v, want one with %q", err, test.fails)
			}
		})
	}
}

// A mutant that makes a test wait forever is caught, and the test named.
func TestTimeout(t *testing.T) {
	m, err := parse("sum", strings.Replace(sumPatch, "return a - b", "return 3", 1))
	if err != nil {
		t.Fatal(err)
	}
	b, err := newBench(lib)
	if err != nil {
		t.Fatal(err)
	}
	defer b.close()
	b.minTimeout = time.Second
	if v := b.test(m); !v.caught || v.by != ". TestSum (did not end within 1s)" {
		t.Errorf("%+v", v)
	}
}

// Changes of one file are made one after the other.
func TestSeveralChanges(t *testing.T) {
	m, err := parse("both", "# Both are wrong.\ntest .\n--- lib.go\n-	return a + b\n+	return 0\n--- lib.go\n-	return a + a\n+	return 1\n }\n")
	if err != nil {
		t.Fatal(err)
	}
	files, err := m.apply(lib)
	if err != nil {
		t.Fatal(err)
	}
	text := files[filepath.Join(lib, "lib.go")]
	if len(files) != 1 || !strings.Contains(text, "\treturn 0\n}\n") || !strings.HasSuffix(text, "\treturn 1\n}\n") || strings.Contains(text, "a +") && strings.Contains(text, "return a") {
		t.Errorf("%d files; lib.go is\n%s", len(files), text)
	}
}

// Files that are not as described at mutant are refused.
func TestParseErrors(t *testing.T) {
	for _, test := range []struct{ text, want string }{
		{"test .\n--- a.go\n-x\n", "describes the mistake"},
		{"# x\n--- a.go\n-x\n", "names the tests"},
		{"# x\ntest .\n", "names a file"},
		{"# x\ntest .\n--- a.go\n+x\n", "lines to search for"},
		{"# x\ntest .\n--- a.go\n x\n", "lines with - or +"},
		{"# x\ntest -run=X\n--- a.go\n-x\n", "names no package"},
		{"# x\nrun .\n--- a.go\n-x\n", "line 2: "},
		{"# x\ntest .\n--- a.go\n-x\n*y\n", "line 5: "},
	} {
		if _, err := parse("x", test.text); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%q: the error is %v, want one with %q", test.text, err, test.want)
		}
	}
}
