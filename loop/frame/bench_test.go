package frame_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/pollux-io/pollux/loop/frame"
)

// benchmarkEach finds the frames of a batch of 64 KiB, as Data may get it.
func benchmarkEach(b *testing.B, f encoder, frameBytes int) {
	one, err := f.Append(nil, []byte(strings.Repeat("x", frameBytes)))
	if err != nil {
		b.Fatal(err)
	}
	stream := bytes.Repeat(one, 64<<10/len(one))
	b.SetBytes(int64(len(stream)))
	b.ReportAllocs()
	frames := 0
	for b.Loop() {
		if _, err := frame.Each(f, stream, func([]byte) error { frames++; return nil }); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(frames), "ns/frame")
}

func BenchmarkEach(b *testing.B) {
	for name, f := range map[string]encoder{
		"Lines":    frame.Lines(64 << 10),
		"CRLF":     &frame.Delimited{Delimiter: "\r\n", MaxBytes: 64 << 10},
		"Prefixed": &frame.Prefixed{LengthBytes: 4, MaxBytes: 64 << 10},
		"Varint":   &frame.Varint{MaxBytes: 64 << 10},
	} {
		for _, size := range []int{16, 128, 4096} {
			b.Run(fmt.Sprintf("%s/%d", name, size), func(b *testing.B) { benchmarkEach(b, f, size) })
		}
	}
}

// BenchmarkParts finds one line that arrives in parts of a segment each, without and with a
// Scanner.
func BenchmarkParts(b *testing.B) {
	const part = 1448
	for _, size := range []int{4 << 10, 64 << 10, 1 << 20} {
		lines := frame.Lines(size)
		stream := append(bytes.Repeat([]byte("x"), size), '\n')
		find := func(b *testing.B, f frame.Format) {
			b.SetBytes(int64(len(stream)))
			b.ReportAllocs()
			for b.Loop() {
				n := 0
				for end := 0; end < len(stream); {
					end = min(end+part, len(stream))
					n, _, _ = f.Next(stream[:end])
				}
				if n != len(stream) {
					b.Fatal(n)
				}
			}
			parts := (len(stream) + part - 1) / part
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*parts), "ns/part")
		}
		b.Run(fmt.Sprintf("Lines/%dKiB", size>>10), func(b *testing.B) { find(b, lines) })
		b.Run(fmt.Sprintf("Scanner/%dKiB", size>>10), func(b *testing.B) { find(b, &frame.Scanner{Format: lines}) })
	}
}

func BenchmarkAppend(b *testing.B) {
	payload := []byte(strings.Repeat("x", 128))
	for name, f := range map[string]encoder{
		"Lines":    frame.Lines(1 << 10),
		"Prefixed": &frame.Prefixed{LengthBytes: 4, MaxBytes: 1 << 10},
		"Varint":   &frame.Varint{MaxBytes: 1 << 10},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			dst := make([]byte, 0, 1<<10)
			for b.Loop() {
				dst, _ = f.Append(dst[:0], payload)
			}
		})
	}
}
