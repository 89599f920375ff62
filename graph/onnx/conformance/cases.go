package conformance

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// testCase is one folder of the suite.
type testCase struct {
	set, name, dir string
	rtol, atol     float64
	absent         bool // the suite has only an address to fetch its model from
}

// Tolerances of the suite's runner, where a case does not say otherwise.
const (
	defaultRTol = 1e-3
	defaultATol = 1e-7
)

// find lists the cases beneath dir, by set and then by name.
func find(dir string, match *regexp.Regexp) ([]testCase, error) {
	var list []testCase
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || e.Name() != "model.onnx" && e.Name() != "data.json" {
			return err
		}
		at := filepath.Dir(path)
		if n := len(list); n > 0 && list[n-1].dir == at { // data.json comes first
			return nil
		}
		c := testCase{set: filepath.Base(filepath.Dir(at)), name: filepath.Base(at), dir: at, rtol: defaultRTol, atol: defaultATol}
		if match != nil && !match.MatchString(c.name) {
			return nil
		}
		if err := c.settings(); err != nil {
			return err
		}
		list = append(list, c)
		return nil
	})
	slices.SortFunc(list, func(a, b testCase) int {
		if n := strings.Compare(a.set, b.set); n != 0 {
			return n
		}
		return strings.Compare(a.name, b.name)
	})
	return list, err
}

// settings reads data.json, which some cases have.
func (c *testCase) settings() error {
	if _, err := os.Stat(filepath.Join(c.dir, "model.onnx")); err != nil {
		c.absent = true
	}
	text, err := os.ReadFile(filepath.Join(c.dir, "data.json"))
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return err
	}
	var s struct{ RTol, ATol *float64 }
	if err := json.Unmarshal(text, &s); err != nil {
		return fmt.Errorf("%s: %w", c.dir, err)
	}
	if s.RTol != nil {
		c.rtol = *s.RTol
	}
	if s.ATol != nil {
		c.atol = *s.ATol
	}
	return nil
}
