package columns

import (
	"fmt"
	"io"
	"strings"
)

// remark begins a comment after a command.
const remark = "   # "

// Command prints a shell command, indented. If it is too long, its comment is printed before
// it, and, if shell is true, it is broken into lines that end in a backslash, as POSIX shells
// understand them.
func Command(w io.Writer, command string, width int, shell bool) {
	pad := strings.Repeat(" ", indent)
	if Width(command)+indent <= width {
		fmt.Fprintf(w, "%s%s\n", pad, command)
		return
	}
	command, comment, _ := strings.Cut(command, remark)
	comment = strings.TrimPrefix(comment, "# ")
	for _, line := range Wrap(comment, width-indent-len("# ")) {
		fmt.Fprintf(w, "%s# %s\n", pad, line)
	}
	if rest, ok := strings.CutPrefix(command, "# "); ok {
		for _, line := range Wrap(rest, width-indent-len("# ")) {
			fmt.Fprintf(w, "%s# %s\n", pad, line)
		}
		return
	}
	if !shell {
		fmt.Fprintf(w, "%s%s\n", pad, command)
		return
	}
	line := ""
	words := shellWords(command)
	for i, word := range words {
		more := 0
		if i < len(words)-1 {
			more = len(` \`)
		}
		switch {
		case line == "":
			line = word
		case indent+Width(line)+1+Width(word)+more <= width:
			line += " " + word
		default:
			fmt.Fprintf(w, "%s%s \\\n", pad, line)
			line = word
		}
	}
	fmt.Fprintf(w, "%s%s\n", pad, line)
}

// shellWords splits a command at the blanks outside quotes.
func shellWords(command string) []string {
	var words []string
	quote, from := rune(0), 0
	for i, c := range command {
		switch {
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '\'' || c == '"':
			quote = c
		case c == ' ':
			if i > from {
				words = append(words, command[from:i])
			}
			from = i + 1
		}
	}
	if from < len(command) {
		words = append(words, command[from:])
	}
	return words
}
