package dns

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/pollux-io/pollux/internal/dnswire"
	"github.com/pollux-io/pollux/internal/misuse"
)

// A netQuery is a query of package net.
type netQuery struct {
	head []byte // of the message: the header and the question
	name dnswire.Name
	typ  Type
}

const (
	lengthBytes = 2 // of the length before a message (RFC 1035, section 4.2.2)
	headerBytes = 12
	classIN     = 1

	bitResponse           = 1 << 15
	maskOpcode            = 15 << 11
	bitTruncated          = 1 << 9
	bitRecursionDesired   = 1 << 8
	bitRecursionAvailable = 1 << 7
)

var errBadQuery = errors.New("the message is not a DNS query with one question of class IN")

// parseQuery parses a query. Records after its question, such as OPT, have no effect.
func parseQuery(msg []byte) (netQuery, error) {
	if len(msg) < headerBytes || binary.BigEndian.Uint16(msg[2:])&(bitResponse|maskOpcode) != 0 || binary.BigEndian.Uint16(msg[4:]) != 1 {
		return netQuery{}, errBadQuery
	}
	end := headerBytes
	for end < len(msg) && msg[end] != 0 && msg[end] <= dnswire.MaxLabelBytes {
		end += 1 + int(msg[end])
	}
	const typeAndClass = 4
	end++ // the root
	if end+typeAndClass > len(msg) || msg[end-1] != 0 || binary.BigEndian.Uint16(msg[end+2:]) != classIN || end-headerBytes > dnswire.MaxNameBytes {
		return netQuery{}, errBadQuery
	}
	return netQuery{
		head: msg[:end+typeAndClass], name: dnswire.Name(msg[headerBytes:end]), typ: Type(binary.BigEndian.Uint16(msg[end:])),
	}, nil
}

// response returns the response to q, after its length.
func (q *netQuery) response(a Answer, err error) []byte {
	b := append(make([]byte, lengthBytes, 512), q.head...)
	flags := binary.BigEndian.Uint16(q.head[2:])&bitRecursionDesired | bitResponse | bitRecursionAvailable
	count := 0
	for _, r := range q.records(&a) {
		with, rerr := q.appendRecord(b, &r)
		if rerr != nil {
			err = rerr
			break
		}
		if len(with)-lengthBytes > dnswire.MaxMessageBytes {
			flags |= bitTruncated
			break
		}
		b, count = with, count+1
	}
	rcode := rcodeOf(err)
	if rcode != dnswire.RcodeSuccess {
		b, count = b[:lengthBytes+len(q.head)], 0
	}
	binary.BigEndian.PutUint16(b, uint16(len(b)-lengthBytes))
	header := b[lengthBytes:]
	binary.BigEndian.PutUint16(header[2:], flags|uint16(rcode))
	binary.BigEndian.PutUint16(header[6:], uint16(count))
	clear(header[8:headerBytes])
	return b
}

func rcodeOf(err error) dnswire.Rcode {
	switch {
	case err == nil, errors.Is(err, ErrNoData):
		return dnswire.RcodeSuccess
	case errors.Is(err, ErrNotFound):
		return dnswire.RcodeNXDomain
	case errors.Is(err, misuse.ErrBadArgument):
		return dnswire.RcodeNotImplemented
	}
	return dnswire.RcodeServerFailure
}

// records returns the records of an answer. Addresses that do not come from DNS have none, so they are made.
func (q *netQuery) records(a *Answer) []Record {
	if len(a.Records) > 0 {
		return a.Records
	}
	records := make([]Record, 0, len(a.Addrs))
	for _, addr := range a.Addrs {
		records = append(records, Record{Name: q.name.String(), Type: q.typ, TTL: a.TTL, Addr: addr.Unmap()})
	}
	return records
}

// appendRecord appends a record to the message in b, which begins with its length.
func (q *netQuery) appendRecord(b []byte, r *Record) ([]byte, error) {
	owner, err := dnswire.ParseName(r.Name)
	if err != nil {
		return b, err
	}
	if owner.EqualFold(q.name) {
		b = append(b, 0xc0, headerBytes) // a pointer to the question
	} else {
		b = append(b, owner...)
	}
	b = binary.BigEndian.AppendUint16(b, uint16(r.Type))
	b = binary.BigEndian.AppendUint16(b, classIN)
	b = binary.BigEndian.AppendUint32(b, uint32(min(max(r.TTL, 0)/time.Second, math.MaxInt32)))
	at := len(b)
	if b, err = appendData(append(b, 0, 0), r); err != nil {
		return b, fmt.Errorf("data of %s %v: %w", r.Name, r.Type, err)
	}
	length := len(b) - at - 2
	if length > math.MaxUint16 {
		return b, fmt.Errorf("data of %s %v has %d octets", r.Name, r.Type, length)
	}
	binary.BigEndian.PutUint16(b[at:], uint16(length))
	return b, nil
}

// appendData appends RDATA.
func appendData(b []byte, r *Record) ([]byte, error) {
	switch r.Type {
	case TypeA, TypeAAAA:
		if (r.Type == TypeA) != r.Addr.Is4() {
			return b, fmt.Errorf("%v is not of the type", r.Addr)
		}
		return append(b, r.Addr.WithZone("").AsSlice()...), nil
	case TypeMX:
		b = binary.BigEndian.AppendUint16(b, r.Preference)
	case TypeSRV:
		for _, n := range [...]uint16{r.Preference, r.Weight, r.Port} {
			b = binary.BigEndian.AppendUint16(b, n)
		}
	case TypeTXT:
		for _, text := range r.Text {
			if len(text) > math.MaxUint8 {
				return b, fmt.Errorf("a string has %d octets", len(text))
			}
			b = append(append(b, byte(len(text))), text...)
		}
		return b, nil
	case TypeSOA:
		return appendSOA(b, r.Value)
	}
	if r.Target == "" {
		return append(b, r.Data...), nil
	}
	target, err := dnswire.ParseName(r.Target)
	return append(b, target...), err
}

var errBadSOA = errors.New("it does not have two names and five numbers")

// appendSOA appends the data of an SOA record, which a Record has as text only.
func appendSOA(b []byte, value string) ([]byte, error) {
	fields := strings.Fields(value)
	const names, numbers = 2, 5
	if len(fields) != names+numbers {
		return b, errBadSOA
	}
	for _, text := range fields[:names] {
		name, err := dnswire.ParseName(text)
		if err != nil {
			return b, err
		}
		b = append(b, name...)
	}
	for _, text := range fields[names:] {
		n, err := strconv.ParseUint(text, 10, 32)
		if err != nil {
			return b, errBadSOA
		}
		b = binary.BigEndian.AppendUint32(b, uint32(n))
	}
	return b, nil
}
