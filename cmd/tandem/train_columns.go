package main

import (
	"fmt"
	"strings"

	"tandem/internal/message"
	"tandem/model"
)

// maxShown is how many columns, and classes, are named.
const maxShown = 12

// sayColumns tells what was found in a table, so that a number that became a text, or a class
// that is written in two ways, is seen before the run is over.
func (a *app) sayColumns(m *model.Artifact) {
	if m.Rows == nil {
		return
	}
	var columns []string
	for _, c := range m.Rows.Columns[:min(len(m.Rows.Columns), maxShown)] {
		text := message.Printable(c.Name) + " " + string(c.Kind)
		if n := len(c.Values); n > 0 {
			text += fmt.Sprintf(" (%d)", n)
		}
		columns = append(columns, text)
	}
	a.sayList("Columns: %s", "Columns: %s and %d more", columns, len(m.Rows.Columns))
	var labels []string
	for _, l := range m.Labels[:min(len(m.Labels), maxShown)] {
		labels = append(labels, message.Printable(l))
	}
	if len(labels) > 0 {
		a.sayList("Classes: %s", "Classes: %s and %d more", labels, len(m.Labels))
	}
}

func (a *app) sayList(all, some string, list []string, n int) {
	if text := strings.Join(list, ", "); n > len(list) {
		a.say(some, text, n-len(list))
	} else {
		a.say(all, text)
	}
}
