// Command tandem trains models and serves them.
//
// This folder is where everything is wired: nothing else knows the families and the
// server at once. A verb is a struct in the grammar, whose Run does the work with what
// it is handed; what people read goes through internal/message.
//
//	main.go         arguments to exit status
//	grammar.go      the verbs and their flags
//	help.go         --help
//	app.go          what every verb is handed: streams, language, form of output
//	credentials.go  the keys that this user's command line has
//	remote.go       which server a verb talks to
//	server.go       store, registry, engine and gateway become a server
//	serve.go train.go predict.go demo.go …  a verb each
package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"github.com/alecthomas/kong"
)

// Exit statuses: a contract.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
)

func main() { os.Exit(runMain()) }

func runMain() int {
	// The first signal asks; the second one ends the process, because the handler is
	// gone by then.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	defer stop()
	return execute(ctx, newApp(os.Args[1:], os.Stdin, os.Stdout, os.Stderr, os.Getenv), os.Args[1:])
}

// execute parses and executes a command line.
func execute(ctx context.Context, a *app, args []string) int {
	var g grammar
	parser, err := kong.New(&g, kong.Name("tandem"), kong.NoDefaultHelp(), kong.Vars{"version": programVersion()},
		kong.Bind(a), kong.BindTo(ctx, (*context.Context)(nil)))
	if err != nil {
		a.fail(err)
		return exitFailed
	}
	switch {
	case len(args) == 0:
		args = []string{"--help"}
	case args[0] == "help": // as git and go have it
		args = append(slices.Clone(args[1:]), "--help")
	}
	command, err := parser.Parse(args)
	switch {
	case err == nil:
		a.remote = g.remote
		err = command.Run(a)
	case errors.Is(err, errHelped):
		err = nil
	default:
		err = usageOf(err)
	}
	if err == nil {
		err = *a.lost
	}
	switch _, wrong := errors.AsType[*usageError](err); {
	case wrong:
		a.fail(err)
		return exitUsage
	case err != nil:
		a.fail(err)
		return exitFailed
	}
	return exitDone
}
