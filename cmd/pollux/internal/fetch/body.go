package fetch

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"sync"

	"github.com/pollux-io/pollux/cmd/pollux/internal/save"
)

// How a body is stored.
//
// net/http decodes the framing, by length, chunked or until close: it is the
// Body of the Response that http.ReadResponse returned. It reads with blocking calls,
// and so do files; both would block the loop. So each body that is received has a
// goroutine of loop.Offload. The loop passes it the bytes through a pipe, and pauses the
// connection while that is full. So for each transfer memory is bounded to pipeBytes, what the
// loop delivers at once, and the copy buffer, however long the body is. The pool has a goroutine
// for each of Config.Parallel transfers, because a slow body would occupy a worker that others
// need.

var copyBuffers = sync.Pool{New: func() any { return new([32 << 10]byte) }}

// saved is the result of storing; clean reports that a failure has left nothing behind.
type saved struct {
	bytes int64
	err   error
	clean bool
}

// store copies src to the job's body in out.
func store(out save.Output, index int, src io.Reader) saved {
	dst, err := out.Create(index)
	if err != nil {
		return saved{err: &storeError{err}, clean: true}
	}
	w := &onlyWriter{dst, nil}
	buf := copyBuffers.Get().(*[32 << 10]byte)
	n, err := io.CopyBuffer(w, onlyReader{src}, buf[:])
	copyBuffers.Put(buf)
	if w.err != nil {
		err = &storeError{w.err}
	}
	if err != nil {
		return saved{n, err, dst.Abort()}
	}
	if err := dst.Commit(); err != nil {
		return saved{n, &storeError{err}, true}
	}
	return saved{bytes: n}
}

// bodyOf returns the part of an answer that is stored. It copies head.
func bodyOf(resp *http.Response, head []byte, headOnly bool) io.Reader {
	if headOnly {
		return bytes.NewReader(bytes.Clone(head))
	}
	return resp.Body
}

// A storeError came from the output, not from the server.
type storeError struct{ err error }

func (e *storeError) Error() string { return e.err.Error() }
func (e *storeError) Unwrap() error { return e.err }

func isStoreError(err error) bool {
	var e *storeError
	return errors.As(err, &e)
}

// onlyWriter and onlyReader hide the methods with which io.Copy would use its own buffers.
type onlyWriter struct {
	w   io.Writer
	err error
}

func (o *onlyWriter) Write(b []byte) (int, error) {
	n, err := o.w.Write(b)
	if err != nil {
		o.err = err
	}
	return n, err
}

type onlyReader struct{ io.Reader }
