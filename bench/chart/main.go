// Chart draws what duel has printed as a picture: for each cell and server the rate and the
// processor time of a message, against the first server of the cell, with the quartiles.
//
//	chart docs/results/cells.txt >docs/results/cells.svg
//
// Lines that begin with # are comments. A line "# show NAME=LABEL…" lists the servers to draw, in
// order, each with its label; a + in a label is a space.
package main

import (
	"bufio"
	"fmt"
	"io"
	"log"
	"os"
	"regexp"
	"strconv"
	"strings"
)

func main() {
	log.SetFlags(0)
	if len(os.Args) != 2 {
		log.Fatal("usage: chart FILE >PICTURE.svg")
	}
	f, err := os.Open(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	defer f.Close()
	r, err := read(f)
	if err != nil {
		log.Fatalf("%s: %v", os.Args[1], err)
	}
	if _, err := os.Stdout.Write(draw(r)); err != nil {
		log.Fatal(err)
	}
}

// results is what is drawn.
type results struct {
	servers []server
	cells   []cell
}

type server struct{ name, label string }

// cell is the ratios of the servers under one load.
type cell struct {
	name   string
	ratios map[string]ratios
}

type ratios struct{ rate, cpu ratio }

type ratio struct{ median, low, high float64 }

var (
	cellLine   = regexp.MustCompile(`^(\d+) × (\d+) B × (\d+), `)
	serverLine = regexp.MustCompile(`^(\S+)\s+rate .*?×([\d.]+) \[([\d.]+)–([\d.]+)\]\s+CPU .*?×([\d.]+) \[([\d.]+)–([\d.]+)\]`)
)

func read(in io.Reader) (results, error) {
	var r results
	lines := bufio.NewScanner(in)
	for n := 1; lines.Scan(); n++ {
		line := lines.Text()
		if show, ok := strings.CutPrefix(line, "# show "); ok {
			for field := range strings.FieldsSeq(show) {
				name, label, _ := strings.Cut(field, "=")
				r.servers = append(r.servers, server{name, strings.ReplaceAll(label, "+", " ")})
			}
		}
		if strings.HasPrefix(line, "#") || strings.TrimSpace(line) == "" {
			continue
		}
		if m := cellLine.FindStringSubmatch(line); m != nil {
			r.cells = append(r.cells, cell{cellName(m[1], m[2], m[3]), make(map[string]ratios)})
			continue
		}
		m := serverLine.FindStringSubmatch(line)
		if m == nil || len(r.cells) == 0 {
			return r, fmt.Errorf("line %d is not of duel: %q", n, line)
		}
		x := make([]float64, 6)
		for i := range x {
			var err error
			if x[i], err = strconv.ParseFloat(m[2+i], 64); err != nil {
				return r, fmt.Errorf("line %d: %w", n, err)
			}
		}
		r.cells[len(r.cells)-1].ratios[m[1]] = ratios{ratio{x[0], x[1], x[2]}, ratio{x[3], x[4], x[5]}}
	}
	if len(r.servers) == 0 || len(r.cells) == 0 {
		return r, fmt.Errorf("there is no cell, or no line \"# show NAME=LABEL…\"")
	}
	return r, lines.Err()
}

func cellName(conns, size, depth string) string {
	if n, err := strconv.Atoi(size); err == nil && n%1024 == 0 {
		size = strconv.Itoa(n/1024) + " KiB"
	} else {
		size += " B"
	}
	if depth == "1" {
		return conns + " × " + size
	}
	return conns + " × " + size + " × " + depth
}

// Sizes in the picture's units.
const (
	left, right, top = 60, 20, 64
	panelHeight      = 220
	panelGap         = 56
	groupWidth       = 112
	barWidth         = 18
)

var colours = []string{"#1a73c7", "#7b4ab8", "#8c8c8c", "#c98a2b", "#3a9a5b", "#c04a4a"}

func draw(r results) []byte {
	var b strings.Builder
	width := left + groupWidth*len(r.cells) + right
	height := top + 2*panelHeight + panelGap + 48
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`+"\n", width, height, width, height)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="#ffffff"/>`+"\n", width, height)
	for i, s := range r.servers {
		fmt.Fprintf(&b, `<rect x="%d" y="12" width="12" height="12" fill="%s"/><text x="%d" y="22" fill="#222222">%s</text>`+"\n",
			left+i*150, colour(i), left+18+i*150, escape(s.label))
	}
	panel(&b, r, top, "Messages a second, C with epoll = 1 (more is better)", func(x ratios) ratio { return x.rate })
	panel(&b, r, top+panelHeight+panelGap, "Processor time a message, C with epoll = 1 (less is better)", func(x ratios) ratio { return x.cpu })
	for i, c := range r.cells {
		fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="middle" fill="#222222">%s</text>`+"\n", left+groupWidth*i+groupWidth/2, height-24, escape(c.name))
	}
	fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="middle" fill="#555555">connections × message × messages in flight on each</text>`+"\n", width/2, height-6)
	b.WriteString("</svg>\n")
	return []byte(b.String())
}

// panel draws one kind of ratio, with its lower edge panelHeight below y.
func panel(b *strings.Builder, r results, y int, title string, of func(ratios) ratio) {
	most := 1.0
	for _, c := range r.cells {
		for _, s := range r.servers {
			most = max(most, of(c.ratios[s.name]).high)
		}
	}
	step := 0.25
	if most > 1.75 {
		step = 0.5
	}
	height := func(v float64) float64 { return v / (most * 1.05) * panelHeight }
	bottom := float64(y + panelHeight)
	width := groupWidth * len(r.cells)
	fmt.Fprintf(b, `<text x="%d" y="%d" font-weight="bold" fill="#222222">%s</text>`+"\n", left, y-8, escape(title))
	for v := 0.0; v <= most*1.05; v += step {
		colour, line := "#e0e0e0", bottom-height(v)
		if v == 1 || v == 0 {
			colour = "#555555"
		}
		fmt.Fprintf(b, `<line x1="%d" x2="%d" y1="%.1f" y2="%.1f" stroke="%s"/><text x="%d" y="%.1f" text-anchor="end" fill="#555555">%.2f</text>`+"\n",
			left, left+width, line, line, colour, left-6, line+4, v)
	}
	for i, c := range r.cells {
		x := left + groupWidth*i + (groupWidth-barWidth*len(r.servers))/2
		for j, s := range r.servers {
			got, ok := c.ratios[s.name]
			if !ok {
				continue
			}
			v, at := of(got), x+barWidth*j
			middle := float64(at) + float64(barWidth-2)/2
			fmt.Fprintf(b, `<rect x="%d" y="%.1f" width="%d" height="%.1f" fill="%s"><title>%s, %s: %.2f [%.2f–%.2f]</title></rect>`,
				at, bottom-height(v.median), barWidth-2, height(v.median), colour(j), escape(s.label), escape(c.name), v.median, v.low, v.high)
			fmt.Fprintf(b, `<line x1="%.1f" x2="%.1f" y1="%.1f" y2="%.1f" stroke="#222222"/>`+"\n", middle, middle, bottom-height(v.low), bottom-height(v.high))
		}
	}
}

func colour(i int) string { return colours[i%len(colours)] }

var special = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;")

func escape(s string) string { return special.Replace(s) }
