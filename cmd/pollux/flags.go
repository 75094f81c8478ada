package main

import (
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	queue "github.com/pollux-io/pollux"
	"github.com/pollux-io/pollux/cmd/pollux/internal/lookup"
	"github.com/pollux-io/pollux/loop"
)

// A rule defines which values a flag accepts. Each flag that takes a value has one, so the
// errors of all flags of all commands are generated in one place.
type rule struct {
	least, most int64  // of a number, or of a time in nanoseconds; most 0: no limit
	zero        string // the special meaning of 0; empty: none
	text        string // what a flag accepts that is neither a number nor a time
	example     string // a valid value
}

// rules has the rule of each flag, by command and flag.
var rules = map[string]rule{
	"demo requests": {most: maxRequests, zero: "as many as may be open at the same time", example: "2000"},
	"demo delay":    {most: int64(maxDelay), example: "1s"},
	"demo parallel": {least: 1, example: "100"},

	"fetch input":           {text: "the name of a file, or - for standard input", example: "list.txt"},
	"fetch output":          {text: "the name of a directory", example: "out"},
	"fetch parallel":        {least: 1, most: maxParallel, example: "100"},
	"fetch timeout":         {zero: "no limit", example: "1m"},
	"fetch connect-timeout": {zero: "no limit", example: "10s"},
	"fetch idle-timeout":    {zero: "no limit", example: "30s"},
	"fetch retries":         {example: "2"},
	"fetch max-redirects":   {example: "10"},
	"fetch cacert":          {text: "the name of a file", example: "ca.pem"},

	"resolve type":     {text: lookup.Kinds, example: "MX"},
	"resolve server":   {text: "an IP address, with or without a port", example: "192.0.2.53:53"},
	"resolve strategy": {text: oneOf(strategyNames), example: "evented"},
	"resolve input":    {text: "the name of a file, or - for standard input", example: "list.txt"},
	"resolve parallel": {least: 1, most: lookup.MaxParallel, example: "100"},
	"resolve timeout":  {zero: "that of resolv.conf, or else 5s", example: "2s"},
	"resolve attempts": {most: maxAttempts, zero: "that of resolv.conf, or else 2", example: "3"},

	"serve listen":       {text: "an address", example: "tcp://127.0.0.1:7000"},
	"serve loops":        {most: loop.MaxLoops, zero: "one for each processor", example: "4"},
	"serve backend":      {text: "the name of a backend (pollux doctor lists them)", example: "poll"},
	"serve max-conns":    {zero: "no limit", example: "10000"},
	"serve idle-timeout": {zero: "never", example: "1m"},
	"serve busy-poll":    {text: fmt.Sprintf("adaptive, off, or a time up to %v", queue.MaxBusyPoll), example: "50us"},
	"serve drain":        {zero: "do not wait", example: "10s"},
	"serve metrics":      {text: "HOST:PORT", example: "127.0.0.1:9100"},
	"serve every":        {zero: "never", example: "10s"},
	"serve tls-cert":     {text: "the name of a file", example: "cert.pem"},
	"serve tls-key":      {text: "the name of a file", example: "key.pem"},

	"doctor connections": {least: 1, most: maxConnections, example: "50000"},
}

// switchRule is the rule of boolean flags.
var switchRule = rule{text: "no value, or true or false", example: "true"}

// A flagError reports a flag with an invalid value.
type flagError struct {
	flag   string
	value  string
	reason string // what is wrong with the value; empty: the flag does not accept it
	accept string // what the flag accepts
	write  string // the flag with a valid value
}

func (e *flagError) Error() string {
	s := e.flag
	if e.value != "" {
		s += " " + printableValue(e.value)
	}
	if e.reason != "" {
		s += ": " + e.reason
	}
	return fmt.Sprintf("%s: give %s; write %s", s, e.accept, e.write)
}

// maxValueShown is the number of characters of a value that an error shows.
const maxValueShown = 80

// printableValue quotes a value that would break a line, and shortens a long one.
func printableValue(s string) string {
	short := s
	if r := []rune(s); len(r) > maxValueShown {
		short = string(r[:maxValueShown]) + "..."
	}
	if q := strconv.Quote(short); q[1:len(q)-1] != short || strings.ContainsAny(short, " \t") {
		return q
	}
	return short
}

// applyRules makes the parser check every flag of the program's commands against its rule.
func applyRules(app *kong.Application) {
	for _, command := range app.Children {
		for _, f := range command.Flags {
			r, ok := rules[command.Name+" "+f.Name]
			switch {
			case ok:
			case f.IsBool():
				r = switchRule
			default:
				panic("pollux: no rule for the flag --" + f.Name + " of " + command.Name)
			}
			f.Mapper = ruledMapper{f.Mapper, r}
		}
	}
}

// A ruledMapper decodes the value of a flag, and refuses one that its rule does not allow.
type ruledMapper struct {
	kong.Mapper
	rule
}

// Decode implements kong.Mapper.
func (m ruledMapper) Decode(ctx *kong.DecodeContext, target reflect.Value) error {
	flag := "--" + ctx.Value.Name
	if ctx.Value.IsBool() {
		given := ctx.Scan.Peek()
		if err := m.Mapper.Decode(ctx, target); err != nil {
			return &flagError{flag, given.String(), "", m.text, flag + ", or " + flag + "=" + m.example}
		}
		return nil
	}
	token := ctx.Scan.Peek()
	switch value, _ := token.Value.(string); {
	case token.IsValue():
	case token.Type == kong.UntypedToken && isNegative(value):
		ctx.Scan.Pop()
		ctx.Scan.PushTyped(value, kong.FlagValueToken)
	default:
		return &flagError{flag, "", "the value is missing", m.accept(target), flag + " " + m.example}
	}
	value := token.String()
	if token.Type == kong.ShortFlagTailToken && string(ctx.Value.Flag.Short)+value == ctx.Value.Name {
		return &flagError{"-" + ctx.Value.Name, "", "a long flag has two hyphens", m.accept(target), flag + " " + m.example}
	}
	if err := m.Mapper.Decode(ctx, target); err != nil {
		return m.refuse(flag, value, target)
	}
	if (target.Kind() == reflect.Int || target.Kind() == reflect.Int64) && !m.allows(target.Int()) {
		return m.refuse(flag, value, target)
	}
	return nil
}

// isNegative reports whether an argument that begins like a flag is a number or a time.
func isNegative(s string) bool { return len(s) > 1 && s[0] == '-' && '0' <= s[1] && s[1] <= '9' }

func (r rule) allows(v int64) bool { return v >= r.least && (r.most == 0 || v <= r.most) }

func (m ruledMapper) refuse(flag, value string, target reflect.Value) error {
	e := &flagError{flag: flag, value: value, accept: m.accept(target), write: flag + " " + m.example}
	n, err := strconv.ParseInt(value, 10, 64)
	switch {
	case value == "":
		e.reason = "the value is empty"
	case isTime(target) && err == nil && n != 0:
		e.reason = "the unit is missing"
		if d, err := time.ParseDuration(value + "s"); err == nil && m.allows(int64(d)) {
			e.write = flag + " " + value + "s"
		}
	}
	return e
}

func isTime(target reflect.Value) bool { return target.Type() == reflect.TypeFor[time.Duration]() }

// accept returns in words what the rule allows.
func (r rule) accept(target reflect.Value) string {
	if r.text != "" {
		return r.text
	}
	kind, least, most := "a number", strconv.FormatInt(r.least, 10), strconv.FormatInt(r.most, 10)
	if isTime(target) {
		kind, least, most = "a time", shortTime(time.Duration(r.least)), shortTime(time.Duration(r.most))
	}
	var s string
	switch {
	case r.most == 0:
		s = fmt.Sprintf("%s of %s or more", kind, least)
	default:
		s = fmt.Sprintf("%s from %s to %s", kind, least, most)
	}
	if r.zero != "" {
		s += fmt.Sprintf(" (%s: %s)", least, r.zero)
	}
	return s
}

// shortTime formats d without trailing zero units: 1h, not 1h0m0s.
func shortTime(d time.Duration) string {
	s := d.String()
	if d%time.Minute == 0 && d != 0 {
		s = strings.TrimSuffix(s, "0s")
	}
	if d%time.Hour == 0 && d != 0 {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// explain returns an error that suggests a correction for err, an error of the parser.
func explain(app *kong.Application, args []string, err error) error {
	var bad *flagError
	if errors.As(err, &bad) {
		return bad
	}
	help := "pollux --help"
	flags := app.Flags
	command := find(app, args[0])
	if command != nil {
		help = "pollux " + command.Name + " --help"
		flags = append(flags, command.Flags...)
	}
	if unknown, ok := strings.CutPrefix(err.Error(), "unknown flag "); ok {
		unknown, _, _ = strings.Cut(unknown, ",")
		return unknownFlag(unknown, args, flags, help)
	}
	if command != nil {
		for _, p := range command.Positional {
			if p.Enum != "" && strings.Contains(err.Error(), "<"+p.Name+">") {
				return notOneOf(command.Name, p)
			}
		}
	}
	return fmt.Errorf("%w; %s shows the usage", err, help)
}

// notOneOf returns the error of an argument that is missing or unknown.
func notOneOf(command string, p *kong.Positional) error {
	e := &flagError{
		flag: command, value: p.Target.String(), reason: "unknown " + p.Name,
		accept: oneOf(p.EnumSlice()), write: "pollux " + command + " " + p.EnumSlice()[0],
	}
	if e.value == "" {
		e.reason = "the " + p.Name + " is missing"
	} else if near := nearest(e.value, p.EnumSlice()); near != "" {
		e.write = "pollux " + command + " " + near
	}
	return e
}

// oneOf joins two or more words: "a, b or c".
func oneOf(words []string) string {
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " or " + words[last]
}

// find returns the command of a name, or nil.
func find(app *kong.Application, name string) *kong.Node {
	for _, c := range app.Children {
		if c.Name == name {
			return c
		}
	}
	return nil
}

// unknownFlag returns the error of an unknown flag, which suggests the nearest known one.
func unknownFlag(unknown string, args []string, flags []*kong.Flag, help string) error {
	for _, a := range args { // the parser reads -requests as -r -e -q …: use the whole argument
		a, _, _ = strings.Cut(a, "=")
		if strings.HasPrefix(a, unknown) && !strings.HasPrefix(a, "--") {
			unknown = a
			break
		}
	}
	bare := strings.TrimLeft(unknown, "-")
	var names []string
	for _, f := range flags {
		if f.Short != 0 && string(f.Short) == bare {
			return fmt.Errorf("unknown flag %s: did you mean -%s, which is --%s? %s lists the flags", printableValue(unknown), bare, f.Name, help)
		}
		names = append(names, f.Name)
	}
	if near := nearest(bare, names); near != "" {
		return fmt.Errorf("unknown flag %s: did you mean --%s? %s lists the flags", printableValue(unknown), near, help)
	}
	return fmt.Errorf("unknown flag %s; %s lists the flags", printableValue(unknown), help)
}

// unknownCommand returns the error of an unknown command, which suggests the nearest known one.
func unknownCommand(app *kong.Application, name string) error {
	var names []string
	for _, c := range app.Children {
		names = append(names, c.Name)
	}
	hint := ""
	if near := nearest(name, names); near != "" {
		hint = fmt.Sprintf(": did you mean %s?", near)
	} else {
		hint = ": give " + oneOf(names) + ";"
	}
	return fmt.Errorf("unknown command %s%s pollux --help lists the commands", printableValue(name), hint)
}

// nearest returns the only name that begins with s, or else the nearest name, if its distance
// from s is at most a third of its length; or "".
func nearest(s string, names []string) string {
	best, least := "", 1<<30
	var begun []string
	for _, n := range names {
		if len(s) > 1 && strings.HasPrefix(n, s) {
			begun = append(begun, n)
		}
		if d := distance(s, n); d < least && 3*d <= max(len(n), 3) {
			best, least = n, d
		}
	}
	if len(begun) == 1 {
		return begun[0]
	}
	return best
}

// distance returns the Damerau-Levenshtein distance: the number of letters to insert, delete,
// replace or swap with their neighbour to turn a into b.
func distance(a, b string) int {
	if len(a) > maxValueShown {
		return len(a) // longer than any name
	}
	d := make([][]int, len(a)+1)
	for i := range d {
		d[i] = make([]int, len(b)+1)
		d[i][0] = i
	}
	for j := range d[0] {
		d[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			replace := d[i-1][j-1]
			if a[i-1] != b[j-1] {
				replace++
			}
			d[i][j] = min(replace, d[i-1][j]+1, d[i][j-1]+1)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				d[i][j] = min(d[i][j], d[i-2][j-2]+1)
			}
		}
	}
	return d[len(a)][len(b)]
}
