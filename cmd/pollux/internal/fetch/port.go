package fetch

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
)

const httpPort, httpsPort = 80, 443

// port returns the port that u names or implies.
func port(u *url.URL) (uint16, error) {
	text := u.Port()
	switch {
	case text == "" && isTLS(u):
		return httpsPort, nil
	case text == "":
		return httpPort, nil
	}
	n, err := strconv.ParseUint(text, 10, 16)
	if err == nil && n == 0 {
		err = errors.New("port 0 cannot be connected to")
	}
	if err != nil {
		return 0, fmt.Errorf("port %s is out of range", text)
	}
	return uint16(n), nil
}
