// Package optest runs single operators of the default table, for the tests of graph/op
// and of the packages beside it.
//
//	run.go   Run, Case: nothing is known of the inputs when the graph is compiled
//	rows.go  Apply, Rows: types and shapes are known; also lists
package optest
