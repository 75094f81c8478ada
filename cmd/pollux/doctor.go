package main

import (
	"encoding/json"
	"fmt"

	"github.com/pollux-io/pollux/cmd/pollux/internal/columns"
	"github.com/pollux-io/pollux/cmd/pollux/internal/doctor"
)

const maxConnections = 100_000_000

type doctorCmd struct {
	JSON        bool `name:"json" help:"Print JSON; its field names are stable."`
	Connections int  `short:"c" default:"10000" help:"Number of connections that the limits should allow."`
}

func (doctorCmd) Help() string {
	return `Prints the backends and whether each can be used, or why not; the system; how names are looked up, with what is wrong in resolv.conf, nsswitch.conf and the hosts file; the limits; and which limits must be raised, with the commands for it.

Examples:

  pollux doctor
  pollux doctor --connections 100000
  pollux doctor --json | jq .names
  pollux doctor --json | jq '.advice[] | select(.ok | not)'`
}

func (c *doctorCmd) Run(std streams) error {
	r := doctor.Examine(c.Connections)
	var err error
	if c.JSON {
		e := json.NewEncoder(std.out)
		e.SetIndent("", "  ")
		err = e.Encode(r)
	} else {
		err = r.Print(std.out, columns.Of(std.out))
	}
	if err == nil && r.Forced != nil && !r.Forced.OK {
		err = fmt.Errorf("%s=%s cannot be used: %s", r.Forced.Variable, r.Forced.Value, r.Forced.Error)
	}
	return err
}
