package conformance_test

import (
	"bufio"
	"fmt"
	"io"
	"regexp"

	"tandem/graph/onnx/conformance"
)

// knownCase is a line of the report's list.
var knownCase = regexp.MustCompile(`^\| ([^ ]+)/([^ ]+) \| (failed|skipped) \| (.*) \|$`)

// readKnown reads the cases that a report lists.
func readKnown(in io.Reader) ([]conformance.Result, error) {
	var list []conformance.Result
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if m := knownCase.FindStringSubmatch(lines.Text()); m != nil {
			list = append(list, conformance.Result{Set: m[1], Name: m[2], Status: conformance.Status(m[3]), Reason: m[4]})
		}
	}
	return list, lines.Err()
}

// differences tells what changed against the known cases: a case that did not pass
// and is not among them, and one among them that passed. Known cases of names that
// were not run are left alone.
func differences(known, run []conformance.Result) []string {
	was := map[string]conformance.Result{}
	for _, k := range known {
		was[k.Set+"/"+k.Name] = k
	}
	var list []string
	for _, r := range run {
		id := r.Set + "/" + r.Name
		k, ok := was[id]
		switch {
		case r.Status == conformance.Passed && ok:
			list = append(list, fmt.Sprintf("%s passes now: take it off the list (was %s: %s)", id, k.Status, k.Reason))
		case r.Status != conformance.Passed && !ok:
			list = append(list, fmt.Sprintf("%s %s: %s", id, r.Status, r.Reason))
		case r.Status != conformance.Passed && r.Status != k.Status:
			list = append(list, fmt.Sprintf("%s is %s, was %s: %s", id, r.Status, k.Status, r.Reason))
		}
	}
	return list
}
