// Package optest runs graphs and single operators of the default table, for the tests of graph/op
// and of the packages beside it.
//
//	session.go  Session, Outputs, Try: a graph, compiled and run
//	run.go      Run, Case: one operator; nothing is known of the inputs when it is compiled
//	rows.go     Apply, Rows: types and shapes are known; also lists
package optest
