package simnet

import (
	"math"
	"syscall"

	"github.com/pollux-io/pollux/internal/sys"
)

// The sizes of buffers in bytes, as Linux has them (tcp(7), socket(7)).
const (
	defaultTCPSend    = 2_626_560
	defaultTCPReceive = 262_144 // Linux begins with half of that, and the buffer grows
	defaultUnixSend   = 212_992
	defaultDatagram   = 212_992
	minSendBuffer     = 4_608
	minReceiveBuffer  = 2_304
	maxBuffer         = 212_992 // that can be set: net.core.wmem_max, rmem_max
)

// options are the socket options.
type options struct {
	sendBuffer, receiveBuffer int // as getsockopt returns them
	reuseAddr, reusePort      bool
	v6only                    bool
	broadcast                 bool
	keepAlive                 bool
	linger                    bool
	lingerSeconds             int
	userTimeout               int // milliseconds
	noDelay                   bool
	keepIdle, keepInterval    int // seconds
	keepCount                 int
	ttl, hops                 int
	multicastTTL              int
	multicastHops             int
	multicastLoop             bool
	multicastLoop6            bool
	multicastInterface        int
}

func defaultOptions(family, typ int) options {
	o := options{
		sendBuffer: defaultDatagram, receiveBuffer: defaultDatagram,
		keepIdle: 7200, keepInterval: 75, keepCount: 9,
		ttl: 64, hops: 64, multicastTTL: 1, multicastHops: 1, multicastLoop: true, multicastLoop6: true,
	}
	if family != sys.AF_UNIX && typ == sys.SOCK_STREAM {
		o.sendBuffer, o.receiveBuffer = defaultTCPSend, defaultTCPReceive
	}
	return o
}

// option returns a pointer to an option that is a number, or one that is a bool.
func (s *Socket) option(level, option int) (number *int, flag *bool) {
	o := &s.options
	isIP := s.family != sys.AF_UNIX
	isTCP := isIP && s.typ == sys.SOCK_STREAM
	switch {
	case level == sys.SOL_SOCKET:
		switch option {
		case sys.SO_SNDBUF:
			return &o.sendBuffer, nil
		case sys.SO_RCVBUF:
			return &o.receiveBuffer, nil
		case sys.SO_REUSEADDR:
			return nil, &o.reuseAddr
		case sys.SO_REUSEPORT:
			return nil, &o.reusePort
		case sys.SO_KEEPALIVE:
			return nil, &o.keepAlive
		case sys.SO_BROADCAST:
			return nil, &o.broadcast
		}
	case level == sys.IPPROTO_TCP && isTCP:
		return o.tcpOption(option)
	case level == sys.IPPROTO_IP && isIP:
		switch option {
		case sys.IP_TTL:
			return &o.ttl, nil
		case sys.IP_MULTICAST_TTL:
			return &o.multicastTTL, nil
		case sys.IP_MULTICAST_LOOP:
			return nil, &o.multicastLoop
		}
	case level == sys.IPPROTO_IPV6 && s.family == sys.AF_INET6:
		switch option {
		case sys.IPV6_V6ONLY:
			return nil, &o.v6only
		case sys.IPV6_UNICAST_HOPS:
			return &o.hops, nil
		case sys.IPV6_MULTICAST_HOPS:
			return &o.multicastHops, nil
		case sys.IPV6_MULTICAST_LOOP:
			return nil, &o.multicastLoop6
		case sys.IPV6_MULTICAST_IF:
			return &o.multicastInterface, nil
		}
	}
	return nil, nil
}

// tcpOption is option for the options of TCP. On systems that lack some, those have the same number:
// so this is not a switch.
func (o *options) tcpOption(option int) (number *int, flag *bool) {
	if option == sys.TCP_NODELAY {
		return nil, &o.noDelay
	}
	for _, k := range [...]struct {
		option int
		number *int
	}{
		{sys.TCP_KEEPIDLE, &o.keepIdle},
		{sys.TCP_KEEPINTVL, &o.keepInterval},
		{sys.TCP_KEEPCNT, &o.keepCount},
		{sys.TCP_USER_TIMEOUT, &o.userTimeout},
	} {
		if option == k.option {
			return k.number, nil
		}
	}
	return nil, nil
}

// optionError is the error for an option that the socket does not have.
func (s *Socket) optionError(level int, get bool) syscall.Errno {
	switch {
	case level != sys.SOL_SOCKET && s.family == sys.AF_UNIX,
		level == sys.IPPROTO_IPV6 && s.family == sys.AF_INET && get:
		return syscall.EOPNOTSUPP
	}
	return syscall.ENOPROTOOPT
}

// SetInt implements sys.VirtualSocket.
func (s *Socket) SetInt(level, option, value int) syscall.Errno {
	defer s.unlock()
	if e := s.lock(); e != 0 {
		return e
	}
	number, flag := s.option(level, option)
	switch {
	case flag != nil:
		*flag = value != 0
	case number == nil:
		return s.optionError(level, false)
	case number == &s.options.sendBuffer:
		*number = max(2*min(value, maxBuffer), minSendBuffer)
	case number == &s.options.receiveBuffer:
		*number = max(2*min(value, maxBuffer), minReceiveBuffer)
	case outOfRange(level, option, value):
		return syscall.EINVAL
	default:
		*number = value
	}
	s.protocol.optionLocked(level, option)
	return 0
}

// outOfRange reports whether Linux refuses the value of an option that is a number (tcp(7), ip(7)).
func outOfRange(level, option, value int) bool {
	least, most := 0, math.MaxInt32
	switch {
	case level == sys.IPPROTO_TCP && (option == sys.TCP_KEEPIDLE || option == sys.TCP_KEEPINTVL):
		least, most = 1, 32767
	case level == sys.IPPROTO_TCP && option == sys.TCP_KEEPCNT:
		least, most = 1, 127
	case level == sys.IPPROTO_IP && option == sys.IP_TTL:
		least, most = 1, 255
	case level == sys.IPPROTO_IP, level == sys.IPPROTO_IPV6 && option != sys.IPV6_MULTICAST_IF:
		most = 255
	}
	return value < least || value > most
}

// GetInt implements sys.VirtualSocket.
func (s *Socket) GetInt(level, option int) (int, syscall.Errno) {
	defer s.unlock()
	if e := s.lock(); e != 0 {
		return 0, e
	}
	if level == sys.SOL_SOCKET {
		switch option {
		case sys.SO_TYPE:
			return s.typ, 0
		case sys.SO_ACCEPTCONN:
			return toInt(s.listens()), 0
		}
	}
	switch number, flag := s.option(level, option); {
	case flag != nil:
		return toInt(*flag), 0
	case number != nil:
		return *number, 0
	}
	return 0, s.optionError(level, true)
}

// SetLinger implements sys.VirtualSocket.
func (s *Socket) SetLinger(on bool, seconds int) syscall.Errno {
	defer s.unlock()
	if e := s.lock(); e != 0 {
		return e
	}
	s.options.linger, s.options.lingerSeconds = on, seconds
	return 0
}

func toInt(b bool) int {
	if b {
		return 1
	}
	return 0
}
