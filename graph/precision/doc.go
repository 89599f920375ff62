// Package precision rounds networks to few bits: a rewrite of a graph of floats to the
// operators with which ONNX says the same in bytes, so that what runs is also what can be
// written to a file, and other programs open it.
//
//	form.go       the forms, and which layers have them
//	rewrite.go    Pass: the rewrite
//	bfloat16.go   layers in bfloat16
//	weight.go     weights as bytes and as blocks of four bits, with their scales
//	calibrate.go  ranges of values, from data
//	static.go     convolutions between quantisers, from ranges
//	compare.go    how far the outputs of two networks are from each other
//	keep.go       which layers stay in floats, by what each costs
//
// Products round the rows of their input in steps of each row's own, so that what a row
// becomes does not depend on others in its batch. The passes for serving (graph/pass)
// join what is written here to kernels on bytes.
package precision
