// Package control holds the operators that run inner graphs and those that work on lists
// of tensors. Types are found by running them.
//
//	control.go   Ops; If
//	loop.go      Loop, SequenceMap
//	scan.go      Scan, of opset 8 and since 9
//	sequence.go  sequences; items.go, what they are made of and cut into
//	optional.go  optionals
//	expand.go    loops of a known number of iterations, unrolled before differentiation
//	expand_sequence.go  … and what reads a list, written out over its elements
//
// None of them has a gradient but by these expansions.
package control
