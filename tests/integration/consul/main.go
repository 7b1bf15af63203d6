// Consul's agent for the integration tests. Consul's own main package cannot be built from another module,
// so this one hands Consul's commands to the command-line library that they are written for.
package main

import (
	"fmt"
	"os"

	"github.com/hashicorp/consul/command"
	"github.com/hashicorp/consul/command/cli"
	mcli "github.com/mitchellh/cli"
)

func main() {
	terminal := &cli.BasicUI{BasicUi: mcli.BasicUi{Writer: os.Stdout, ErrorWriter: os.Stderr}}
	runner := mcli.NewCLI("consul", "")
	runner.Args = os.Args[1:]
	runner.Commands = command.RegisteredCommands(terminal)
	code, err := runner.Run()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(code)
}
