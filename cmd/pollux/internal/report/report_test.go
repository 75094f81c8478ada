package report

import (
	"bytes"
	"errors"
	"net/url"
	"testing"
	"time"

	"github.com/pollux-io/pollux/cmd/pollux/internal/fetch"
)

func TestLines(t *testing.T) {
	var out, errs bytes.Buffer
	l := &Lines{Out: &out, Err: &errs, Total: 12}
	job := fetch.NewJob(0, "http://user:secret@h/a")
	final, _ := url.Parse("http://h/b")
	l.Result(&fetch.Result{Job: job, URL: final, Status: 200, Bytes: 2048, Took: 1500 * time.Microsecond}, "dir/a")
	if want := " 1/12  200     1.5ms    2.0 KiB  http://h/a => http://h/b -> dir/a\n"; out.String() != want {
		t.Errorf("%q, want %q", out.String(), want)
	}
	bad := &fetch.Job{Text: "http://[\x1b"}
	l.Result(&fetch.Result{Job: bad, Err: errors.New("no URL")}, "")
	l.Result(&fetch.Result{Job: job, Err: errors.New("refused"), Tries: 3, Took: time.Second}, "")
	want := "pollux: \"http://[\\x1b\": no URL\npollux: http://h/a: refused (3 tries in 1s)\n"
	l.Result(&fetch.Result{Job: job, URL: final, Downgrade: final}, "")
	want += "pollux: http://h/a: warning: it was redirected from https to http://h/b, so others may have read and changed the answer\n"
	if errs.String() != want {
		t.Errorf("%q, want %q", errs.String(), want)
	}
}

func TestBytes(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1 << 30: "1.0 GiB", 1<<63 - 1: "8.0 EiB"} {
		if got := Bytes(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
}
