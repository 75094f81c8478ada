// Apilist lists the exported API of the library's packages, a line for each constant, variable,
// function, type, field and method, as the files in Go's api folder do. Without flags it compares
// the lists with the files in api/, prints the differences, and fails if there are any; with -w it
// writes the files.
//
//	GOWORK=off go -C tools run ./apilist -w
//
// What differs between systems is listed once for each system that has it, with the system's name.
package main

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// update is the command that writes the files.
const update = "GOWORK=off go -C tools run ./apilist -w"

func main() {
	root := flag.String("root", "..", "the `folder` of the library's module")
	systems := flag.String("systems", "linux,darwin,windows", "list the API on these `systems`, values of GOOS")
	write := flag.Bool("w", false, "write the files in api/ instead of comparing")
	flag.Parse()
	if flag.NArg() > 0 {
		fail(fmt.Errorf("unexpected argument %q: apilist takes only flags; --help lists them", flag.Arg(0)))
	}
	files, err := list(*root, strings.Split(*systems, ","))
	if err != nil {
		fail(err)
	}
	folder := filepath.Join(*root, "api")
	if *write {
		err = writeFiles(folder, files)
	} else {
		err = compareFiles(folder, files)
	}
	if err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "apilist:", err)
	os.Exit(1)
}

// list returns the lines of each file: of the packages of the module in root, on all systems.
func list(root string, systems []string) (files map[string][]string, err error) {
	on := map[string]map[string][]string{} // the systems that have a line, by package and line
	for _, system := range systems {
		loaded, err := load(root, system)
		if err != nil {
			return nil, err
		}
		for _, p := range loaded {
			if on[p.name] == nil {
				on[p.name] = map[string][]string{}
			}
			for _, line := range features(p) {
				on[p.name][line] = append(on[p.name][line], system)
			}
		}
	}
	files = map[string][]string{}
	for name, lines := range on {
		file := fileName(name)
		for line, has := range lines {
			if len(has) == len(systems) {
				files[file] = append(files[file], "pkg "+name+", "+line)
				continue
			}
			for _, system := range has {
				files[file] = append(files[file], "pkg "+name+" ("+system+"), "+line)
			}
		}
		slices.Sort(files[file])
	}
	return files, nil
}

// fileName returns the name of a package's file: loop-frame.txt for loop/frame.
func fileName(name string) string { return strings.ReplaceAll(name, "/", "-") + ".txt" }

// writeFiles makes folder have exactly these files.
func writeFiles(folder string, files map[string][]string) error {
	if err := os.MkdirAll(folder, 0o777); err != nil {
		return err
	}
	old, err := readFiles(folder)
	if err != nil {
		return err
	}
	for file := range old {
		if _, ok := files[file]; !ok {
			if err := os.Remove(filepath.Join(folder, file)); err != nil {
				return err
			}
		}
	}
	for file, lines := range files {
		if err := os.WriteFile(filepath.Join(folder, file), []byte(strings.Join(lines, "\n")+"\n"), 0o666); err != nil {
			return err
		}
	}
	return nil
}

// readFiles returns the lines of the files in folder.
func readFiles(folder string) (files map[string][]string, err error) {
	names, err := filepath.Glob(filepath.Join(folder, "*.txt"))
	if err != nil {
		return nil, err
	}
	files = map[string][]string{}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		files[filepath.Base(name)] = slices.Collect(strings.Lines(string(text)))
	}
	return files, nil
}

// compareFiles returns an error with the lines that differ from those of the files in folder.
func compareFiles(folder string, files map[string][]string) error {
	old, err := readFiles(folder)
	if err != nil {
		return err
	}
	var diff strings.Builder
	names := maps.Clone(old)
	maps.Copy(names, files)
	for _, file := range slices.Sorted(maps.Keys(names)) {
		var lines []string
		for _, line := range files[file] {
			lines = append(lines, line+"\n")
		}
		if removed, added := minus(old[file], lines), minus(lines, old[file]); len(removed)+len(added) > 0 {
			fmt.Fprintf(&diff, "api/%s:\n", file)
			writeEach(&diff, "-", removed)
			writeEach(&diff, "+", added)
		}
	}
	if diff.Len() > 0 {
		return fmt.Errorf("the exported API differs from the files in api/; if this is intended, run\n\n\t%s\n\n%s", update, diff.String())
	}
	return nil
}

func writeEach(b *strings.Builder, sign string, lines []string) {
	for _, line := range lines {
		b.WriteString(sign + line)
	}
}

// minus returns the lines of a that are not in b.
func minus(a, b []string) (rest []string) {
	for _, line := range a {
		if !slices.Contains(b, line) {
			rest = append(rest, line)
		}
	}
	return rest
}
