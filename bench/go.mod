module github.com/pollux-io/pollux/bench

go 1.26.0

require github.com/pollux-io/pollux v0.0.0

require (
	golang.org/x/net v0.62.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
	golang.org/x/text v0.43.0 // indirect
)

replace github.com/pollux-io/pollux => ../
