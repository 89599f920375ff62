// Package report writes what a run directory holds as one page of HTML, which needs
// nothing else: no script, no network; curves are SVG within it. Everything that comes
// from a spec or from data passes through html/template.
//
//	report.go   Write: what the page shows
//	chart.go    curves as paths, with ticks
//	page.go     the page's template
package report
