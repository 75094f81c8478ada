package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// lib is a module with one of everything.
const lib = "testdata/lib"

var systems = []string{"linux", "windows"}

// Every kind of declaration is listed as testdata/lib/api has it; what is not exported is not.
func TestList(t *testing.T) {
	files, err := list(lib, systems)
	if err != nil {
		t.Fatal(err)
	}
	if err := compareFiles(lib+"/api", files); err != nil {
		t.Errorf("%v\n(in this test, by hand)", err)
	}
}

// copyLib copies the module and its lists, and replaces old, which occurs once in a file. If old is
// empty, it adds the file.
func copyLib(t *testing.T, file, old, changed string) (root string) {
	t.Helper()
	root = t.TempDir()
	if err := os.CopyFS(root, os.DirFS(lib)); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(root, file)
	if old != "" {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(string(text), old); n != 1 {
			t.Fatalf("%s contains %q %d times, want once", file, old, n)
		}
		changed = strings.Replace(string(text), old, changed, 1)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(changed), 0o666); err != nil {
		t.Fatal(err)
	}
	return root
}

// changes are edits of a file of the test's module.
var changes = []struct {
	name, file, old, changed string
	want                     string // the differing lines; "": the API is the same
}{
	{
		"method renamed", "lib.go", "func (l *Level) Set(", "func (l *Level) Put(",
		"api/lib.txt:\n-pkg lib, method (*Level) Set(string) error\n+pkg lib, method (*Level) Put(string) error\n",
	},
	{
		"method removed that is promoted", "lib.go", "func (Inner) Promoted() ", "func (Inner) promoted() ",
		"api/lib.txt:\n-pkg lib, method (Inner) Promoted()\n-pkg lib, method (Outer) Promoted()\n",
	},
	{
		"receiver", "lib.go", "func (l Level) String", "func (l *Level) String",
		"api/lib.txt:\n-pkg lib, method (Level) String() string\n+pkg lib, method (*Level) String() string\n",
	},
	{
		"parameter's type, on one system", "lib_windows.go", "handle uintptr", "handle int",
		"api/lib.txt:\n-pkg lib (linux), func Differs(int)\n-pkg lib (windows), func Differs(uintptr)\n+pkg lib, func Differs(int)\n",
	},
	{
		"constant", "lib.go", "1 << 40", "1 << 41",
		"api/lib.txt:\n-pkg lib, const Untyped = 1099511627776\n+pkg lib, const Untyped = 2199023255552\n",
	},
	{
		"constraint", "lib.go", "Pair[K comparable, V any]", "Pair[K, V comparable]",
		`api/lib.txt:
-pkg lib, type Pair[K comparable, V any] struct
-pkg lib, type Pair[K comparable, V any] struct, Key K
-pkg lib, type Pair[K comparable, V any] struct, Value V
+pkg lib, type Pair[K comparable, V comparable] struct
+pkg lib, type Pair[K comparable, V comparable] struct, Key K
+pkg lib, type Pair[K comparable, V comparable] struct, Value V
`,
	},
	{
		"interface sealed", "lib.go", "Read(b []byte) (n int, err error)", "seal(); Read(b []byte) (n int, err error)",
		"api/lib.txt:\n+pkg lib, type Reader interface, unexported methods\n",
	},
	{
		"field of an internal type", "internal/hidden/hidden.go", "Field int", "Field int64",
		"api/lib.txt:\n-pkg lib, type Hidden struct, Field int\n+pkg lib, type Hidden struct, Field int64\n",
	},
	{
		"new package", "more/more.go", "", "package more\n\nvar V int\n",
		"api/more.txt:\n+pkg more, var V int\n",
	},
	{"parameter renamed", "lib.go", "name string, levels", "title string, levels", ""},
	{"not exported", "lib.go", "privateFunc", "privateFunc2", ""},
}

// A change of the API is reported with the lines that differ and the command that updates the
// files; one that users cannot see is not.
func TestChanges(t *testing.T) {
	for _, test := range changes {
		t.Run(test.name, func(t *testing.T) {
			root := copyLib(t, test.file, test.old, test.changed)
			files, err := list(root, systems)
			if err != nil {
				t.Fatal(err)
			}
			err = compareFiles(filepath.Join(root, "api"), files)
			switch {
			case test.want == "" && err != nil:
				t.Error(err)
			case test.want == "":
			case err == nil:
				t.Errorf("no difference, want\n%s", test.want)
			case !strings.HasSuffix(err.Error(), "\n\n"+test.want) || !strings.Contains(err.Error(), update):
				t.Errorf("%v\nwant\n%s", err, test.want)
			}

			// The written files agree, and those of packages that are gone are removed.
			api := filepath.Join(root, "api")
			if err := os.WriteFile(filepath.Join(api, "gone.txt"), []byte("pkg gone, var V int\n"), 0o666); err != nil {
				t.Fatal(err)
			}
			if err := compareFiles(api, files); err == nil || !strings.Contains(err.Error(), "api/gone.txt:\n-pkg gone, var V int\n") {
				t.Errorf("%v, want the package that is gone", err)
			}
			if err := writeFiles(api, files); err != nil {
				t.Fatal(err)
			}
			if err := compareFiles(api, files); err != nil {
				t.Error(err)
			}
		})
	}
}

// An error of the compiler is reported, with the system.
func TestBuildError(t *testing.T) {
	root := copyLib(t, "lib_windows.go", "uintptr", "unknown")
	if _, err := list(root, systems); err == nil || !strings.Contains(err.Error(), "windows") || !strings.Contains(err.Error(), "undefined: unknown") {
		t.Errorf("%v, want an error of the compiler on windows", err)
	}
}
