package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"

	"tandem/fault"
	"tandem/graph"
	"tandem/graph/onnx/conformance"
	"tandem/graph/op"
	"tandem/graph/pass"
	"tandem/kernel"
)

// conformanceCmd is `tandem conformance`.
type conformanceCmd struct {
	ONNX conformanceONNXCmd `cmd:"" name:"onnx" help:"Run the cases of the ONNX backend test suite beneath a folder."`
}

type conformanceONNXCmd struct {
	Dir     string `arg:"" name:"DIR" help:"Folder of cases, such as onnx/backend/test/data of the Python package onnx."`
	Match   string `help:"Run only the cases whose names match this regular expression." placeholder:"RE"`
	Passes  bool   `help:"Rewrite the graphs as for serving first."`
	Report  string `help:"Write what did not pass, with the reasons, to this file." placeholder:"FILE"`
	Threads int    `help:"Threads that compute. Without it: one." placeholder:"N" default:"1"`
}

// conformanceResult is a line of --json: a case that did not pass, or the totals.
type conformanceResult struct {
	Event   string `json:"event"` // "case" or "totals"
	Case    string `json:"case,omitempty"`
	Status  string `json:"status,omitempty"`
	Reason  string `json:"reason,omitempty"`
	Passed  *int   `json:"passed,omitempty"`
	Failed  *int   `json:"failed,omitempty"`
	Skipped *int   `json:"skipped,omitempty"`
}

// Run runs the cases and prints those that do not pass.
func (c *conformanceONNXCmd) Run(a *app, ctx context.Context) error {
	re, err := regexp.Compile(c.Match)
	if err != nil {
		return usage("--match: %v", err)
	}
	pool := kernel.NewPool(max(c.Threads, 1), kernel.Detect())
	defer pool.Close()
	opt := conformance.Options{Ops: op.Default(), Pool: pool, Match: re, Jobs: 2, Passes: []graph.Pass{}}
	if c.Passes {
		opt.Passes = pass.Inference(pool)
	}
	report := conformance.Report{Suite: conformance.SuiteOf(c.Dir), File: filepath.Base(c.Report)}
	var failed error
	total, err := conformance.Run(ctx, c.Dir, opt, func(r conformance.Result) {
		report.Add(r)
		if r.Status == conformance.Passed || failed != nil {
			return
		}
		if a.json {
			failed = a.emit(conformanceResult{Event: "case", Case: r.Set + "/" + r.Name, Status: string(r.Status), Reason: r.Reason})
			return
		}
		fmt.Fprintf(a.out, "%-7s  %s/%s: %s\n", r.Status, r.Set, r.Name, r.Reason)
	})
	if err != nil || failed != nil {
		return firstError(err, failed)
	}
	if c.Report != "" {
		var text bytes.Buffer
		if _, err := report.WriteTo(&text); err != nil {
			return fault.From(err, "tandem.conformance")
		}
		if err := os.WriteFile(c.Report, text.Bytes(), 0o644); err != nil {
			return fault.From(err, "tandem.conformance")
		}
	}
	if a.json {
		return a.emit(conformanceResult{Event: "totals", Passed: &total.Passed, Failed: &total.Failed, Skipped: &total.Skipped})
	}
	// What is said of cases is the same in every language: programs read it.
	fmt.Fprintln(a.out, total)
	return nil
}

func firstError(list ...error) error {
	for _, err := range list {
		if err != nil {
			return err
		}
	}
	return nil
}
