package layers

import (
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"tandem/internal/setting"
	"tandem/nn"
)

// table is a row of Markdown for each kind of layer: its names and its settings. Kinds
// that follow each other and have the same settings share a row.
func table() string {
	var names, settings []string
	for _, k := range kinds() {
		var keys []string
		if _, ok := k.of.(nn.Activation); ok {
			for _, a := range nn.Activations() {
				keys = append(keys, "`"+string(a)+"`")
			}
		} else if reflect.TypeOf(k.of).Kind() == reflect.Struct {
			for _, s := range setting.List(k.of, nil) {
				keys = append(keys, "`"+s.Key+"`")
			}
		}
		row := strings.Join(keys, ", ")
		if last := len(settings) - 1; last >= 0 && row != "" && settings[last] == row {
			names[last] += ", `" + k.name + "`"
			continue
		}
		names, settings = append(names, "`"+k.name+"`"), append(settings, row)
	}
	var b strings.Builder
	for i := range names {
		b.WriteString("| " + names[i] + " | " + settings[i] + " |\n")
	}
	return b.String()
}

// TestLayersAreDocumented: both documents list every layer with its settings.
func TestLayersAreDocumented(t *testing.T) {
	for _, file := range []string{"train.md", "train.zh.md"} {
		text, err := os.ReadFile("../../docs/" + file)
		if err != nil {
			t.Fatal(err)
		}
		rows := slices.Collect(strings.SplitSeq(string(text), "\n"))
		for row := range strings.SplitSeq(strings.TrimSpace(table()), "\n") {
			if !slices.Contains(rows, row) {
				t.Errorf("docs/%s has no row\n%s", file, row)
			}
		}
	}
}
