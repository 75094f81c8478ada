package dnswire

import (
	"errors"
	"fmt"
	"hash/maphash"
	"time"
)

// MaxChain is how many CNAMEs an answer may have in succession.
const MaxChain = 16

// Why a well-formed message is not a response that can be used. Parse returns them wrapped.
var (
	// ErrWrongQuestion: the message responds to another question.
	ErrWrongQuestion = errors.New("response repeats another question")
	// ErrCNAMELoop: a CNAME refers to a name before it on the chain.
	ErrCNAMELoop = errors.New("loop of CNAME records")
	// ErrChainTooLong: the chain has more than MaxChain CNAMEs.
	ErrChainTooLong = fmt.Errorf("more than %d CNAME records in succession", MaxChain)
)

// A Kind is what a response is to its question.
type Kind uint8

// Kinds of responses.
const (
	// Positive: Records has records of the type of the question.
	Positive Kind = iota
	// NoData: the name exists, but has no record of the type.
	NoData
	// NXDomain: the name does not exist, or that to which the last of the CNAMEs refers.
	NXDomain
	// Incomplete: the chain of CNAMEs ends at a name of which the server knows nothing, and it does not look
	// further: ask for the records of Canonical.
	Incomplete
	// Referral: the server refers to others. It is not a recursive one: ask another.
	Referral
	// Truncated: the answer is too large for UDP: ask again over TCP.
	Truncated
	// FormatError (also NOTIMP and BADVERS): the server does not understand the query: ask again without EDNS.
	FormatError
	// ServerFailure (SERVFAIL, REFUSED and all others): ask another server.
	ServerFailure
)

var kindNames = [...]string{
	Positive: "positive", NoData: "no data", NXDomain: "no such name", Incomplete: "incomplete", Referral: "referral",
	Truncated: "truncated", FormatError: "format error", ServerFailure: "server failure",
}

// String returns a description for traces.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return "unknown kind"
}

// A Response is what a message states about a question.
type Response struct {
	Kind  Kind
	Rcode Rcode

	Authoritative      bool
	RecursionAvailable bool
	AuthenticData      bool // the server has validated the answer by DNSSEC: believe it only of a trusted server on a trusted path
	EDNS               bool // the server understands EDNS

	// Records are the CNAMEs of the chain from the name of the question on, Aliases of them, and then the records
	// of the type of the question; without duplicates. They refer to no memory of the message.
	Records []Record
	Aliases int
	// Canonical is the last name of the chain, that of the question if there are no CNAMEs.
	Canonical Name
	// TTL is how long the response may be cached: the minimum of all Records. A NoData or NXDomain has that of
	// its SOA record as well (RFC 2308, section 5), and 0 without one; other negative kinds have 0.
	TTL time.Duration
	// Dropped counts the records of the answer section that are not on the chain, or not of the type or of
	// class IN.
	Dropped int

	Explanations []ExtendedError
}

// Answers returns the records of the type of the question.
func (r *Response) Answers() []Record { return r.Records[r.Aliases:] }

// maxCompared bounds the search for duplicates, so that its time is linear. Servers that repeat
// records repeat them in short answers.
const maxCompared = 32

// maxExplanations bounds Response.Explanations.
const maxExplanations = 4

// Parse returns what msg states about q. Match must have accepted msg; Parse checks again that it responds
// to q, whatever the case of its name. An error wraps ErrMalformed or is one of those above; then the
// response must be dropped, and another asked for. msg is not kept.
func Parse(msg []byte, q Question) (Response, error) {
	var p Parser
	return p.Parse(msg, q)
}

// keptAnswers is how much memory a Parser keeps, in records.
const keptAnswers = 64

// A Parser is Parse with memory that is used again. Its zero value is ready; it is for one goroutine at a time.
type Parser struct{ answers []indexed }

// Parse is the function Parse.
func (ps *Parser) Parse(msg []byte, q Question) (Response, error) {
	p := parser{m: msg, q: q, answers: ps.answers[:0]}
	err := p.parse()
	if cap(p.answers) <= keptAnswers {
		ps.answers = p.answers
	}
	if err != nil {
		return Response{}, err
	}
	return p.r, nil
}

// A parser has the state of one call of Parse.
type parser struct {
	m message
	q Question
	r Response

	answers    []indexed
	zoneTTL    time.Duration // of an SOA record of a zone that has r.Canonical
	hasZone    bool          // there is such a record
	isReferral bool          // there is an NS record of a zone that has r.Canonical
}

// indexed is a record of the answer section. The hash of its owner is so that each step of the chain
// compares only few names.
type indexed struct {
	rawRecord
	hash uint64
}

func (p *parser) parse() error {
	if !p.q.Name.valid() || !p.q.Type.ofData() {
		return ErrBadQuestion
	}
	if len(p.m) < headerBytes || len(p.m) > MaxMessageBytes {
		return malformed(0, fmt.Sprintf("message has %d octets", len(p.m)))
	}
	flags := p.m.uint16(2)
	p.r = Response{
		Rcode: Rcode(flags & maskRcode), Canonical: p.q.Name, Authoritative: flags&bitAA != 0,
		RecursionAvailable: flags&bitRA != 0, AuthenticData: flags&bitAD != 0,
	}
	if flags&bitQR == 0 || flags&maskOpcode != 0 {
		return malformed(2, "message is not a response to a query")
	}
	at := headerBytes
	failed := p.r.Rcode != RcodeSuccess && p.r.Rcode != RcodeNXDomain
	if p.m.uint16(4) != 0 || !failed {
		verdict := matchQuestion(p.m[headerBytes:], &Sent{Question: p.q})
		if p.m.uint16(4) != 1 || verdict != Matched && verdict != CaseLost {
			return fmt.Errorf("%w (%v)", ErrWrongQuestion, verdict)
		}
		at += len(p.q.Name) + 4
	}
	if failed {
		// A server that does not understand a query may repeat the counts of its header, or parts of its sections.
		// The error itself is all that matters.
		_ = p.sections(at)
		p.fail()
		return nil
	}
	if flags&bitTC != 0 {
		p.r.Kind = Truncated // the rest may be cut anywhere
		return nil
	}
	if err := p.sections(at); err != nil {
		return err
	}
	if p.r.Rcode != RcodeSuccess && p.r.Rcode != RcodeNXDomain { // by the extension of the code
		p.fail()
		return nil
	}
	p.conclude()
	return nil
}

// fail makes r a response with an error code: nothing else in it is believed.
func (p *parser) fail() {
	kind := ServerFailure
	switch p.r.Rcode {
	case RcodeFormatError, RcodeNotImplemented, RcodeBadVersion:
		kind = FormatError
	}
	p.r = Response{
		Kind: kind, Rcode: p.r.Rcode, Canonical: p.q.Name, Authoritative: p.r.Authoritative,
		RecursionAvailable: p.r.RecursionAvailable, EDNS: p.r.EDNS, Explanations: p.r.Explanations,
	}
}

// sections reads the sections after the question.
func (p *parser) sections(at int) error {
	at, err := p.answerSection(at)
	if err != nil {
		return err
	}
	if err := p.followChain(); err != nil {
		return err
	}
	for range p.m.uint16(8) {
		var raw rawRecord
		if raw, at, err = p.m.rawRecord(at); err != nil {
			return err
		}
		if err := p.authority(&raw); err != nil {
			return err
		}
	}
	for range p.m.uint16(10) {
		var raw rawRecord
		if raw, at, err = p.m.rawRecord(at); err != nil {
			return err
		}
		if err := p.additional(&raw); err != nil {
			return err
		}
	}
	return nil
}

// minRecordBytes is the length of the shortest record: of the root, without data.
const minRecordBytes = 1 + recordFixedBytes

// seed makes it impossible for a server to choose names whose hashes are equal.
var seed = maphash.MakeSeed()

func (p *parser) answerSection(at int) (next int, err error) {
	count := int(p.m.uint16(6))
	if most := min(count, (len(p.m)-at)/minRecordBytes); most > cap(p.answers) {
		p.answers = make([]indexed, 0, most)
	}
	var buf [MaxNameBytes]byte
	for range count {
		var a indexed
		if a.rawRecord, at, err = p.m.rawRecord(at); err != nil {
			return 0, err
		}
		n, _, err := p.m.expandName(a.owner, &buf)
		if err != nil {
			return 0, err
		}
		a.hash = hashFolded(buf[:n])
		p.answers = append(p.answers, a)
	}
	if count > 0 {
		p.r.Records = make([]Record, 0, count)
	}
	return at, nil
}

// hashFolded folds name in place, and returns its hash.
func hashFolded(name []byte) uint64 {
	for i, c := range name {
		name[i] = lower(c)
	}
	return maphash.Bytes(seed, name)
}

// followChain fills Records: from the name of the question, it follows CNAMEs until there are records of
// the wanted type. The records may be in any order.
func (p *parser) followChain() error {
	for {
		alias, err := p.recordsAt(p.r.Canonical)
		if err != nil {
			return err
		}
		if alias == nil {
			p.r.Dropped = len(p.answers) - len(p.r.Records)
			return nil
		}
		if p.r.Aliases == MaxChain {
			return ErrChainTooLong
		}
		r, err := p.m.decode(alias, p.r.Canonical)
		if err != nil {
			return err
		}
		p.r.Records = append(p.r.Records, r)
		p.r.Aliases++
		for i := range p.r.Records {
			if p.r.Records[i].Name.EqualFold(r.Target) {
				return fmt.Errorf("%w: %v refers back to %v", ErrCNAMELoop, r.Name, r.Target)
			}
		}
		p.r.Canonical = r.Target
	}
}

// recordsAt appends the records of the wanted type at name to Records. If there are none, it returns the
// first CNAME at name, or nil without one. RFC 2181, section 10.1, allows at most one.
func (p *parser) recordsAt(name Name) (alias *rawRecord, err error) {
	var buf [MaxNameBytes]byte
	hash := hashFolded(buf[:copy(buf[:], name)])
	for i := range p.answers {
		a := &p.answers[i]
		wanted := Type(a.typ) == p.q.Type
		if a.hash != hash || a.class != classIN || !wanted && Type(a.typ) != TypeCNAME {
			continue
		}
		if n, _, err := p.m.expandName(a.owner, &buf); err != nil || !equalFold(name, buf[:n]) {
			continue // another name of the same hash
		}
		if !wanted {
			if alias == nil {
				alias = &a.rawRecord
			}
			continue
		}
		r, err := p.m.decode(&a.rawRecord, name)
		if err != nil {
			return nil, err
		}
		if !p.isDuplicate(&r) {
			p.r.Records = append(p.r.Records, r)
		}
	}
	if len(p.r.Records) > p.r.Aliases {
		return nil, nil
	}
	return alias, nil
}

// isDuplicate reports whether r is in Records already. If so, the lower TTL remains (RFC 2181, section 5.2).
func (p *parser) isDuplicate(r *Record) bool {
	answers := p.r.Answers()
	for i := range answers[:min(len(answers), maxCompared)] {
		if answers[i].sameData(r) {
			answers[i].TTL = min(answers[i].TTL, r.TTL)
			return true
		}
	}
	return false
}

// authority looks for the SOA or NS records of a zone that has the last name of the chain. Those of other
// zones prove nothing about it.
func (p *parser) authority(raw *rawRecord) error {
	if raw.class != classIN || Type(raw.typ) != TypeSOA && Type(raw.typ) != TypeNS {
		return nil
	}
	var buf [MaxNameBytes]byte
	n, _, err := p.m.expandName(raw.owner, &buf)
	if err != nil {
		return err
	}
	if !under(p.r.Canonical, buf[:n]) {
		return nil
	}
	if Type(raw.typ) == TypeNS {
		p.isReferral = true
		return nil
	}
	r, err := p.m.decode(raw, "")
	if err != nil {
		return err
	}
	if ttl := min(r.TTL, r.SOA.NegativeMinimum); !p.hasZone || ttl < p.zoneTTL {
		p.hasZone, p.zoneTTL = true, ttl
	}
	return nil
}

// additional looks for the OPT record, whose fields have meanings of their own (RFC 6891, section 6.1).
func (p *parser) additional(raw *rawRecord) error {
	if Type(raw.typ) != typeOPT {
		return nil
	}
	if p.r.EDNS || p.m[raw.owner] != 0 {
		return malformed(raw.owner, "OPT record is not the only one, or not at the root")
	}
	p.r.EDNS = true
	p.r.Rcode |= Rcode(raw.ttl>>24) << 4
	const optionHeaderBytes, extendedError, codeBytes = 4, 15, 2
	d := decoder{m: p.m, at: raw.data, end: raw.dataEnd}
	for d.end-d.at >= optionHeaderBytes {
		code, data := d.uint16(), d.octets(int(d.uint16()))
		if code == extendedError && len(data) >= codeBytes && len(p.r.Explanations) < maxExplanations {
			p.r.Explanations = append(p.r.Explanations, ExtendedError{message(data).uint16(0), string(data[codeBytes:])})
		}
	}
	if d.err == nil && d.at != d.end {
		d.err = malformed(d.at, "options of the OPT record are cut")
	}
	return d.err
}

// conclude determines the kind of a response without an error code, and its TTL.
func (p *parser) conclude() {
	r := &p.r
	switch found := len(r.Records) > r.Aliases; {
	case r.Rcode == RcodeNXDomain:
		// Records at a name that does not exist contradict the code, and are not believed.
		r.Dropped += len(r.Records) - r.Aliases
		r.Records = r.Records[:r.Aliases]
		r.Kind = NXDomain
	case found:
		r.Kind = Positive
	case p.hasZone:
		r.Kind = NoData
	case p.isReferral && !r.Authoritative: // RFC 2308, section 2.2
		r.Kind = Referral
	case r.Aliases > 0 && !r.RecursionAvailable:
		r.Kind = Incomplete
	default:
		r.Kind = NoData
	}
	switch r.Kind {
	case Positive:
		r.TTL = r.Records[0].TTL
	case NoData, NXDomain:
		r.TTL = p.zoneTTL // 0 without an SOA record
	default:
		return
	}
	for i := range r.Records {
		r.TTL = min(r.TTL, r.Records[i].TTL)
	}
}
