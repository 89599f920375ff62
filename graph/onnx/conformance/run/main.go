// Command run runs the cases of the ONNX backend test suite beneath a folder,
// prints those that do not pass, and counts.
//
//	go run ./graph/onnx/conformance/run [-match RE] [-passes] [-threads N] [-v] [-report FILE] DIR
package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"regexp"

	"tandem/graph/onnx/conformance"
	"tandem/graph/op"
	"tandem/graph/pass"
	"tandem/kernel"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	match := flag.String("match", "", "run only the cases whose names match this expression")
	all := flag.Bool("v", false, "print cases that pass, too")
	to := flag.String("report", "", "write the report to this file")
	passes := flag.Bool("passes", false, "rewrite the graphs as for serving")
	threads := flag.Int("threads", 1, "threads of a kernel; with more than one, a panic within ends the run")
	jobs := flag.Int("jobs", 2, "cases at a time")
	flag.Parse()
	if flag.NArg() != 1 {
		return fmt.Errorf("one folder of cases is expected, not %d arguments", flag.NArg())
	}
	re, err := regexp.Compile(*match)
	if err != nil {
		return err
	}
	pool := kernel.NewPool(*threads, kernel.Detect())
	defer pool.Close()
	opt := conformance.Options{Ops: op.Default(), Pool: pool, Match: re, Jobs: *jobs}
	if *passes {
		opt.Passes = pass.Inference(pool)
	}
	var report conformance.Report
	total, err := conformance.Run(context.Background(), flag.Arg(0), opt, func(r conformance.Result) {
		report.Add(r)
		if *all || r.Status != conformance.Passed {
			fmt.Printf("%-7s %s/%s: %s\n", r.Status, r.Set, r.Name, r.Reason)
		}
	})
	if err != nil {
		return err
	}
	fmt.Println(total)
	if *to == "" {
		return nil
	}
	var text bytes.Buffer
	if _, err := report.WriteTo(&text); err != nil {
		return err
	}
	return os.WriteFile(*to, text.Bytes(), 0o644)
}
