package dnswire

import "encoding/binary"

// Sent is what a response to a query must repeat (RFC 5452, section 9.1), besides the addresses and
// ports, which the caller compares. AppendQuery must have accepted the question.
type Sent struct {
	ID       uint16
	Question Question
	Case     Case // as in QueryOptions
}

// A Verdict is the result of Match.
type Verdict uint8

// Verdicts. Only a Matched response may become an answer.
const (
	// Matched: the message responds to the query, and has the case of its name.
	Matched Verdict = iota
	// CaseLost: the message responds to the query, in another case: either the server does not keep
	// it, or the message is forged. Ask again over TCP, where forging is harder.
	CaseLost
	// QuestionMissing: a server reports an error, but repeats no question, as some do to a query that they do not
	// understand. It proves too little for more than asking again, without EDNS or over TCP.
	QuestionMissing
	// WrongID, WrongQuestion (its name, type or class) and NotResponse (also: another opcode): drop it.
	WrongID
	WrongQuestion
	NotResponse
	// Garbled: the message has no complete header and question.
	Garbled
)

var verdictNames = [...]string{
	Matched: "matched", CaseLost: "case lost", QuestionMissing: "no question", WrongID: "wrong ID",
	WrongQuestion: "wrong question", NotResponse: "not a response", Garbled: "garbled",
}

// String returns a description for traces.
func (v Verdict) String() string {
	if int(v) < len(verdictNames) {
		return verdictNames[v]
	}
	return "unknown verdict"
}

// Match reports whether msg responds to a query. It reads only the header and the question, and
// does not allocate: it is cheap enough for floods of forged datagrams.
func Match(msg []byte, sent *Sent) Verdict {
	if len(msg) < headerBytes {
		return Garbled
	}
	flags := binary.BigEndian.Uint16(msg[2:])
	switch {
	case binary.BigEndian.Uint16(msg) != sent.ID:
		return WrongID
	case flags&bitQR == 0 || flags&maskOpcode != 0:
		return NotResponse
	}
	switch binary.BigEndian.Uint16(msg[4:]) {
	case 0:
		if rcode := Rcode(flags & maskRcode); rcode != RcodeSuccess && rcode != RcodeNXDomain {
			return QuestionMissing
		}
		return WrongQuestion
	case 1:
		return matchQuestion(msg[headerBytes:], sent)
	}
	return WrongQuestion
}

// matchQuestion compares the question at the start of b. Nothing precedes its name that a
// compression pointer could point to: its octets are compared as they are.
func matchQuestion(b []byte, sent *Sent) Verdict {
	name := sent.Question.Name
	if len(b) < len(name)+4 {
		return Garbled
	}
	verdict := Matched
	for i := range len(name) {
		switch {
		case b[i] == sent.Case.apply(name[i], i):
		case lower(b[i]) == lower(name[i]):
			verdict = CaseLost
		default:
			return WrongQuestion
		}
	}
	b = b[len(name):]
	if binary.BigEndian.Uint16(b) != uint16(sent.Question.Type) || binary.BigEndian.Uint16(b[2:]) != classIN {
		return WrongQuestion
	}
	return verdict
}

// RestoreCase overwrites the name of the question of msg, which Match has accepted for sent, by the name of the query
// without its Case. Servers compress other names against it: records would otherwise have parts in the random case.
func RestoreCase(msg []byte, sent *Sent) { copy(msg[headerBytes:], sent.Question.Name) }
