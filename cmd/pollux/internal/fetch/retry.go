package fetch

import (
	"errors"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"
)

// maxBackOff is the longest pause before a retry, also if the server requests a longer one.
const maxBackOff = 30 * time.Second

// isTransient reports whether a retry may succeed.
func isTransient(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Transient
}

// backOff returns the pause before try number n, counted from 2: first, doubled for
// each further try, randomized by a quarter so that transfers that failed together are not
// retried together; at least as long as the server asked.
func backOff(first time.Duration, n int, asked time.Duration) time.Duration {
	d := min(first, maxBackOff)
	for i := 2; i < n && d < maxBackOff; i++ {
		d = min(2*d, maxBackOff)
	}
	if d > 0 {
		d += time.Duration(rand.Int64N(int64(d)/2+1)) - d/4
	}
	return min(max(d, asked), maxBackOff)
}

// retryAfter returns the pause that the server asked for, or zero (RFC 9110, 10.2.3).
func retryAfter(resp *http.Response, now time.Time) time.Duration {
	v := resp.Header.Get("Retry-After")
	if s, err := strconv.Atoi(v); err == nil {
		return time.Duration(min(max(s, 0), int(maxBackOff/time.Second))) * time.Second
	}
	if t, err := http.ParseTime(v); err == nil {
		return max(t.Sub(now), 0)
	}
	return 0
}
