// Command kitexpeer is the Go Kitex at the other end of elanus's interop tests and benchmarks.
//
// Tests drive it through flags, lines on stdin and JSON lines on stdout; what Kitex logs goes to stderr.
// It is built by tests/interop/build_peers.py, which generates the kitex_gen package first.
package main

import (
	"flag"
	"fmt"
	"os"
)

// subcommands maps a name to what runs it; each parses the flags that follow its name.
var subcommands = []struct {
	name string
	run  func(arguments []string) error
	help string
}{
	{"server", runServer, "serve Interop (and Other) until SIGTERM"},
	{"client", runClient, "make the calls that come as JSON lines on stdin"},
	{"load", runLoad, "echo at a steady rate, and check that every reply is the call's own"},
	{"resolve", runResolve, "show what a registry has of the names that come as lines on stdin"},
	{"bench-server", runBenchServer, "serve Bench until SIGTERM"},
	{"bench-client", runBenchClient, "measure echo calls for some seconds"},
	{"version", runVersion, "print the versions of Kitex and Go"},
}

func main() {
	if len(os.Args) < 2 {
		usage()
	}
	for _, subcommand := range subcommands {
		if subcommand.name != os.Args[1] {
			continue
		}
		if err := subcommand.run(os.Args[2:]); err != nil {
			fmt.Fprintf(os.Stderr, "kitexpeer %s: %v\n", subcommand.name, err)
			os.Exit(1)
		}
		return
	}
	usage()
}

func usage() {
	fmt.Fprintln(os.Stderr, "usage: kitexpeer SUBCOMMAND [flags]; SUBCOMMAND -h lists its flags")
	for _, subcommand := range subcommands {
		fmt.Fprintf(os.Stderr, "  %-13s %s\n", subcommand.name, subcommand.help)
	}
	os.Exit(2)
}

// newFlags makes a flag set that ends the process with a usage text on a mistake, as the tests expect a typo to be loud.
func newFlags(subcommand string) *flag.FlagSet {
	return flag.NewFlagSet("kitexpeer "+subcommand, flag.ExitOnError)
}

// parse reads the flags and refuses left-overs: a forgotten dash would otherwise be ignored silently.
func parse(flags *flag.FlagSet, arguments []string) error {
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	return nil
}
