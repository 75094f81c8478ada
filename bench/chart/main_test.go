package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
)

const printed = `# a comment
# show a=One,+first b=Two<>

64 × 1024 B × 16, 0s apart, 40 cycles of 30ms
base         rate 1196384/s ×1.000 [1.00–1.00]  CPU    780 ns ×1.000 [1.00–1.00]  p50   826.3 µs ×1.000 [1.00–1.00]  p99  1159.3 µs ×1.000 [1.00–1.00]
a            rate 1156279/s ×0.959 [0.93–0.99]  CPU    837 ns ×1.085 [1.06–1.10]  p50   853.8 µs ×1.045 [1.01–1.07]  p99  1207.7 µs ×1.082 [0.96–1.23]
`

func TestRead(t *testing.T) {
	r, err := read(strings.NewReader(printed))
	if err != nil {
		t.Fatal(err)
	}
	want := ratios{ratio{0.959, 0.93, 0.99}, ratio{1.085, 1.06, 1.10}}
	if len(r.cells) != 1 || r.cells[0].name != "64 × 1 KiB × 16" || r.cells[0].ratios["a"] != want {
		t.Errorf("cells: %+v", r.cells)
	}
	if len(r.servers) != 2 || r.servers[0] != (server{"a", "One, first"}) {
		t.Errorf("servers: %+v", r.servers)
	}
	for _, bad := range []string{"", "# show a=A\n", printed + "and this\n", "a rate 1\n"} {
		if _, err := read(strings.NewReader(bad)); err == nil {
			t.Errorf("no error for %q", bad)
		}
	}
}

// The picture in docs is that of the results beside it, and well-formed.
func TestPicture(t *testing.T) {
	const results = "../../docs/results/cells"
	f, err := os.Open(results + ".txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := read(f)
	if err != nil {
		t.Fatal(err)
	}
	got := draw(r)
	if want, err := os.ReadFile(results + ".svg"); err != nil || !bytes.Equal(got, want) {
		t.Errorf("the picture is not up to date (%v): go run ./bench/chart docs/results/cells.txt >docs/results/cells.svg", err)
	}
	other, _ := read(strings.NewReader(printed)) // a server without results, and letters to be escaped
	for _, picture := range [][]byte{got, draw(other)} {
		d := xml.NewDecoder(bytes.NewReader(picture))
		for err = nil; err == nil; {
			_, err = d.Token()
		}
		if !errors.Is(err, io.EOF) {
			t.Error(err)
		}
	}
}
