package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/pollux-io/pollux/cmd/pollux/internal/fetch"
	"github.com/pollux-io/pollux/cmd/pollux/internal/redact"
)

const (
	// maxURLs bounds a run: the whole list is in memory.
	maxURLs = 1 << 20
	// maxLineBytes bounds a line of a list.
	maxLineBytes = 64 << 10
)

// readJobs returns a job for each given URL, then for each URL in file.
func readJobs(given []string, file string, in io.Reader) ([]*fetch.Job, error) {
	jobs := make([]*fetch.Job, 0, len(given))
	for _, text := range given {
		jobs = append(jobs, fetch.NewJob(len(jobs), text))
	}
	if file != "" {
		if file != "-" {
			f, err := os.Open(file)
			if err != nil {
				var path *fs.PathError
				if errors.As(err, &path) {
					err = path.Err // without the name, which may be a URL given by mistake
				}
				return nil, fmt.Errorf("read the list of URLs in %s: %w", redact.File(file), err)
			}
			defer f.Close()
			in = f
		}
		var err error
		if jobs, err = readList(jobs, in); err != nil {
			return nil, fmt.Errorf("read the list of URLs in %s: %w", redact.File(file), err)
		}
	}
	switch {
	case len(jobs) == 0 && file != "":
		return nil, fmt.Errorf("the list %s has no URL: give one per line, like http://example.org/path", redact.File(file))
	case len(jobs) == 0:
		return nil, errors.New("no URL: give one like http://example.org/path, or a list with --input FILE")
	}
	return jobs, nil
}

func readList(jobs []*fetch.Job, in io.Reader) ([]*fetch.Job, error) {
	s := bufio.NewScanner(in)
	s.Buffer(nil, maxLineBytes)
	for line := 1; s.Scan(); line++ {
		text := strings.TrimSpace(strings.TrimPrefix(s.Text(), "\ufeff"))
		if text == "" || text[0] == '#' {
			continue
		}
		if len(jobs) == maxURLs {
			return nil, fmt.Errorf("line %d: more than %d URLs; split the list", line, maxURLs)
		}
		jobs = append(jobs, fetch.NewJob(len(jobs), text))
	}
	return jobs, s.Err()
}
