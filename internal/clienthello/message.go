package clienthello

import (
	"encoding/binary"
	"slices"
)

// Extensions, by IANA's registry of TLS ExtensionType values.
const (
	extServerName        = 0
	extALPN              = 16
	extSupportedVersions = 43
	extEncryptedHello    = 0xfe0d // RFC 9849
)

const (
	randomBytes  = 32
	nameTypeHost = 0 // RFC 6066, section 3

	// maxExtensions bounds the search for an extension that is there twice. IANA's registry has about 70, and
	// clients send about 20.
	maxExtensions = 256
)

// knownVersions has the versions that crypto/tls knows, in its order.
var knownVersions = []uint16{0x0304, 0x0303, 0x0302, 0x0301}

// reader takes fields off the front of a message.
type reader []byte

func (r *reader) take(n int) (b reader, ok bool) {
	if len(*r) < n {
		return nil, false
	}
	b, *r = (*r)[:n], (*r)[n:]
	return b, true
}

func (r *reader) uint16() (v uint16, ok bool) {
	b, ok := r.take(2)
	if !ok {
		return 0, false
	}
	return binary.BigEndian.Uint16(b), true
}

// vector8 takes a vector whose length is in one byte, vector16 one whose length is in two.
func (r *reader) vector8() (b reader, ok bool) {
	n, ok := r.take(1)
	if !ok {
		return nil, false
	}
	return r.take(int(n[0]))
}

func (r *reader) vector16() (b reader, ok bool) {
	n, ok := r.uint16()
	if !ok {
		return nil, false
	}
	return r.take(int(n))
}

// parse reads the body of a ClientHello (RFC 8446, section 4.1.2). It reports whether it is well-formed, as far as
// it is read: other extensions are left to crypto/tls.
func (h *Hello) parse(r reader) bool {
	legacy, ok := r.uint16()
	if !ok {
		return false
	}
	if _, ok = r.take(randomBytes); !ok {
		return false
	}
	if _, ok = r.vector8(); !ok { // legacy_session_id
		return false
	}
	if suites, ok := r.vector16(); !ok || len(suites)%2 != 0 {
		return false
	}
	if _, ok = r.vector8(); !ok { // legacy_compression_methods
		return false
	}
	if len(r) > 0 { // before TLS 1.3, extensions may be absent
		extensions, ok := r.vector16()
		if !ok || len(r) > 0 || !h.extensions(extensions) {
			return false
		}
	}
	if len(h.Versions) == 0 {
		h.Versions = slices.DeleteFunc(slices.Clone(knownVersions), func(v uint16) bool { return v > legacy })
	}
	return true
}

func (h *Hello) extensions(r reader) bool {
	var seen []uint16
	for len(r) > 0 {
		id, ok := r.uint16()
		if !ok {
			return false
		}
		body, ok := r.vector16()
		if !ok || len(seen) == maxExtensions || slices.Contains(seen, id) {
			return false
		}
		seen = append(seen, id)
		switch id {
		case extServerName:
			ok = h.serverName(body)
		case extALPN:
			ok = h.protocols(body)
		case extSupportedVersions:
			ok = h.versions(body)
		case extEncryptedHello:
			h.Encrypted = true
		}
		if !ok {
			return false
		}
	}
	return true
}

// serverName reads the list of RFC 6066, section 3: at most one name of a host, without a final dot.
func (h *Hello) serverName(r reader) bool {
	names, ok := r.vector16()
	if !ok || len(r) > 0 || len(names) == 0 {
		return false
	}
	for len(names) > 0 {
		kind, ok := names.take(1)
		if !ok {
			return false
		}
		name, ok := names.vector16()
		if !ok || len(name) == 0 {
			return false
		}
		if kind[0] != nameTypeHost {
			continue
		}
		if h.ServerName != "" || name[len(name)-1] == '.' {
			return false
		}
		h.ServerName = string(name)
	}
	return true
}

func (h *Hello) protocols(r reader) bool {
	list, ok := r.vector16()
	if !ok || len(r) > 0 || len(list) == 0 {
		return false
	}
	for len(list) > 0 {
		name, ok := list.vector8()
		if !ok || len(name) == 0 {
			return false
		}
		h.Protocols = append(h.Protocols, string(name))
	}
	return true
}

func (h *Hello) versions(r reader) bool {
	list, ok := r.vector8()
	if !ok || len(r) > 0 || len(list) == 0 || len(list)%2 != 0 {
		return false
	}
	for len(list) > 0 {
		v, _ := list.uint16()
		h.Versions = append(h.Versions, v)
	}
	return true
}
