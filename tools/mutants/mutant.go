package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// A mutant is the library with one mistake. Its file, NAME.diff in patches/, has, in this order:
//
//	# what the mistake is, in one line or several
//	test ENV=VALUE … PACKAGE FLAG …
//	--- FILE
//	 a line of the file, for context
//	-a line that the mistake removes
//	+a line that the mistake adds
//
// Each test line is a command that must fail: the flags are those of go test. A file has at least one
// test line. There may be several changes, each beginning with its ---; no line numbers are needed,
// because the lines with a space or a minus, taken together, must occur exactly once in FILE. An
// empty line is a line of context.
type mutant struct {
	name    string
	about   string
	tests   []command
	changes []change
}

// change is a replacement in one file.
type change struct {
	file     string // relative to the module's folder, with slashes
	old, new string // whole lines
}

// command is a call of go test on one package.
type command struct {
	line string // as written
	env  []string
	pkg  string // "./loop"
	args []string
}

// load reads the mutants of a folder, in the order of their names.
func load(folder string) ([]*mutant, error) {
	files, err := filepath.Glob(filepath.Join(folder, "*.diff"))
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("%s has no files *.diff", folder)
	}
	slices.Sort(files)
	var mutants []*mutant
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		m, err := parse(strings.TrimSuffix(filepath.Base(file), ".diff"), string(text))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		mutants = append(mutants, m)
	}
	return mutants, nil
}

// parse returns the mutant that a file's text describes.
func parse(name, text string) (*mutant, error) {
	m := &mutant{name: name}
	var about []string
	for i, line := range strings.Split(strings.TrimRight(text, "\n"), "\n") {
		if err := m.parseLine(line, &about); err != nil {
			return nil, fmt.Errorf("line %d: %w", i+1, err)
		}
	}
	m.about = strings.Join(about, " ")
	switch {
	case m.about == "":
		return nil, fmt.Errorf("no line with # describes the mistake")
	case len(m.tests) == 0:
		return nil, fmt.Errorf("no line with test names the tests that must fail")
	case len(m.changes) == 0:
		return nil, fmt.Errorf("no line with --- names a file to change")
	}
	for _, c := range m.changes {
		if c.old == "" || c.old == c.new {
			return nil, fmt.Errorf("the change of %s needs lines to search for, and lines with - or +", c.file)
		}
	}
	return m, nil
}

// parseLine adds a line to m, or to the lines that describe the mistake.
func (m *mutant) parseLine(line string, about *[]string) error {
	if file, ok := strings.CutPrefix(line, "--- "); ok {
		m.changes = append(m.changes, change{file: file})
		return nil
	}
	if len(m.changes) == 0 {
		kind, rest, _ := strings.Cut(line, " ")
		switch kind {
		case "":
		case "#":
			*about = append(*about, rest)
		case "test":
			c, err := parseCommand(rest)
			if err != nil {
				return err
			}
			m.tests = append(m.tests, c)
		default:
			return fmt.Errorf("%q begins with neither #, test nor ---", line)
		}
		return nil
	}
	c := &m.changes[len(m.changes)-1]
	if line == "" {
		line = " "
	}
	sign, rest := line[0], line[1:]+"\n"
	switch sign {
	case ' ':
		c.old += rest
		c.new += rest
	case '-':
		c.old += rest
	case '+':
		c.new += rest
	default:
		return fmt.Errorf("%q begins with neither a space, - nor +", line)
	}
	return nil
}

// testFlags are flags of go test that the test program has by another name.
var testFlags = []string{"-count", "-parallel", "-run", "-short", "-skip"}

// parseCommand parses the words after test.
func parseCommand(line string) (command, error) {
	c := command{line: line}
	words := strings.Fields(line)
	for len(words) > 0 && strings.Contains(words[0], "=") {
		c.env, words = append(c.env, words[0]), words[1:]
	}
	if len(words) == 0 || !strings.HasPrefix(words[0], ".") {
		return command{}, fmt.Errorf("%q names no package, such as ./loop", line)
	}
	c.pkg = words[0]
	for _, word := range words[1:] {
		flag, _, _ := strings.Cut(word, "=")
		if slices.Contains(testFlags, flag) {
			word = "-test." + word[1:]
		}
		c.args = append(c.args, word)
	}
	return c, nil
}

// apply returns the text of each file that the mutant changes, by its path. It returns an error if
// the lines of a change do not occur exactly once.
func (m *mutant) apply(root string) (map[string]string, error) {
	changed := map[string]string{}
	for _, c := range m.changes {
		path := filepath.Join(root, filepath.FromSlash(c.file))
		text, ok := changed[path]
		if !ok {
			b, err := os.ReadFile(path)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", m.name, err)
			}
			text = string(b)
		}
		if n := countLines(text, c.old); n != 1 {
			return nil, fmt.Errorf("%s: these lines occur %d times in %s; adapt the patch, so that they occur once:\n%s", m.name, n, c.file, c.old)
		}
		changed[path] = strings.TrimPrefix(strings.Replace("\n"+text, "\n"+c.old, "\n"+c.new, 1), "\n")
	}
	return changed, nil
}

// countLines returns how often the given whole lines occur in text.
func countLines(text, lines string) int { return strings.Count("\n"+text, "\n"+lines) }
