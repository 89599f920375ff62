package conformance

import (
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Report collects results for a file in docs.
type Report struct {
	Suite, File string // what was run, and the name of the file

	sets map[string]*Totals
	not  []Result // that did not pass, in the order of the run
}

// Add takes in a result.
func (r *Report) Add(result Result) {
	if r.sets == nil {
		r.sets = map[string]*Totals{}
	}
	if r.sets[result.Set] == nil {
		r.sets[result.Set] = &Totals{}
	}
	r.sets[result.Set].add(result.Status)
	if result.Status != Passed {
		for _, e := range explanations() {
			if e.cases.MatchString(result.Name) {
				result.Reason = e.why + " (" + result.Reason + ")"
			}
		}
		r.not = append(r.not, result)
	}
}

type explanation struct {
	cases *regexp.Regexp
	why   string
}

// explanations are what people should know of cases that do not pass, beside what
// the run says.
func explanations() []explanation {
	list := []explanation{}
	for _, e := range [][2]string{
		{"^test_dft_inverse", "the stored result has the rounding error of a float32 transform where 0 is exact"},
		{"^test_image_decoder_decode_(jpeg2k|webp)_", "this picture format is not read"},
		{"^test_attention_4d_causal_fp16_expanded", "one unit of float16, which is more than the tolerance of the suite"},
	} {
		list = append(list, explanation{regexp.MustCompile(e[0]), e[1]})
	}
	return list
}

// head says where the report comes from: %[1]s is the suite, %[2]s the file.
const head = `# Conformance with %[1]s

A run of the ONNX backend test suite writes this file, and a test reads it: ` + "`make test`" + ` fails when a case that passed before fails, and when a case listed here passes. To write it again:

    tandem conformance onnx DIR --report docs/%[2]s

A case passes when each output has the type and shape that the suite expects, floats within its tolerance (0.1%% and 1e-7 unless the case says otherwise; two units in the last place for bfloat16), everything else to the bit.

`

// SuiteOf tells which suite lies in a folder: what its file "version" says, or that the
// package onnx carries.
func SuiteOf(dir string) string {
	text, err := os.ReadFile(filepath.Join(dir, "version"))
	if err != nil {
		return "the files of the Python package onnx"
	}
	line, _, _ := strings.Cut(string(text), "\n")
	return line
}

// WriteTo writes the report as Markdown.
func (r *Report) WriteTo(out io.Writer) (int64, error) {
	var b strings.Builder
	fmt.Fprintf(&b, head, r.Suite, r.File)
	b.WriteString("| set | passed | failed | skipped |\n| --- | ---: | ---: | ---: |\n")
	var all Totals
	for _, set := range slices.Sorted(maps.Keys(r.sets)) {
		t := r.sets[set]
		fmt.Fprintf(&b, "| %s | %d | %d | %d |\n", set, t.Passed, t.Failed, t.Skipped)
		all.Passed, all.Failed, all.Skipped = all.Passed+t.Passed, all.Failed+t.Failed, all.Skipped+t.Skipped
	}
	fmt.Fprintf(&b, "| all | %d | %d | %d |\n\n## Cases that do not pass\n\n", all.Passed, all.Failed, all.Skipped)
	b.WriteString("| case | status | reason |\n| --- | --- | --- |\n")
	for _, n := range r.not {
		fmt.Fprintf(&b, "| %s/%s | %s | %s |\n", n.Set, n.Name, n.Status, strings.ReplaceAll(n.Reason, "|", "/"))
	}
	n, err := io.WriteString(out, b.String())
	return int64(n), err
}
