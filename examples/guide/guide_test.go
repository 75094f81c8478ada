package guide_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// pages are the documents that show these programs, with the smallest number of blocks of Go.
var pages = map[string]int{
	"../../docs/guide.md":         10,
	"../../docs/hub-and-proxy.md": 5,
	"../../docs/names.md":         11,
	"../../docs/netconn.md":       9,
	"../../docs/testing.md":       15,
	"../../docs/tls.md":           11,
}

var (
	goLink = regexp.MustCompile(`\]\((\.\./[^)#]*\.go)\)`)
	goRun  = regexp.MustCompile(`go run (\./\S+)`)
)

// Every block of Go in a page is, line by line, in the file to which the page
// last linked: so it compiles, and is tested. The programs that its shell blocks run exist.
func TestPagesMatchPrograms(t *testing.T) {
	for page, blocks := range pages {
		t.Run(filepath.Base(page), func(t *testing.T) { checkPage(t, page, blocks) })
	}
}

func checkPage(t *testing.T, page string, atLeast int) {
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	var file, kind, block string
	blocks := 0
	for i, line := range strings.SplitAfter(string(text), "\n") {
		fence, isFence := strings.CutPrefix(strings.TrimSpace(line), "```")
		switch {
		case isFence && kind == "":
			if kind, block = fence, ""; kind == "" {
				t.Errorf("%s:%d: a block without a language", page, i+1)
				kind = "?"
			}
		case isFence:
			if kind == "go" {
				blocks++
				checkBlock(t, page, i+1, file, block)
			}
			kind = ""
		case kind == "":
			for _, link := range goLink.FindAllStringSubmatch(line, -1) {
				file = filepath.Join(filepath.Dir(page), link[1])
			}
		default:
			block += line
			for _, run := range goRun.FindAllStringSubmatch(line, -1) {
				if _, err := os.Stat(filepath.Join("..", run[1], "main.go")); kind == "sh" && err != nil {
					t.Errorf("%s:%d: %v", page, i+1, err)
				}
			}
		}
	}
	if blocks < atLeast {
		t.Errorf("%d blocks of Go in %s, want at least %d", blocks, page, atLeast)
	}
}

func checkBlock(t *testing.T, page string, line int, file, block string) {
	t.Helper()
	source, err := os.ReadFile(file)
	if err != nil {
		t.Errorf("%s:%d: %v", page, line, err)
		return
	}
	const maxIndent = 3 // pages do not indent code that is cut from a function
	for indent := range maxIndent + 1 {
		lines := strings.SplitAfter(strings.TrimSuffix(block, "\n"), "\n")
		for i, l := range lines {
			if l != "\n" {
				lines[i] = strings.Repeat("\t", indent) + l
			}
		}
		if strings.Contains("\n"+string(source), "\n"+strings.Join(lines, "")+"\n") {
			return
		}
	}
	t.Errorf("%s:%d: the block that ends here is not in %s:\n%s", page, line, file, block)
}
