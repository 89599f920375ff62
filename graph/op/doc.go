// Package op holds Tandem's operators, a file per family, or several with one beginning.
// They keep together what belongs to an operator: its shape rule, its kernel and its
// gradient.
//
//	table.go: Lists, Default: every operator
//	types.go window.go byrow.go work.go: what families share
//	elementwise*.go math*.go logic*.go activation.go cast*.go: elements
//	reduce*.go cumulative.go softmax.go order.go unique.go: axes
//	shape*.go move*.go slice.go gather.go scatter.go pad.go: elements put elsewhere
//	gemm*.go matmul*.go linear.go projection.go einsum*.go: products
//	quantize*.go integer.go: numbers in few bits, and products of them
//	conv*.go transpose_conv.go deform.go pool*.go last*.go: windows over images and lines
//	resize*.go sample*.go detect*.go signal*.go: images and signals
//	normalize*.go: norms
//	attention*.go rotary*.go paged.go recurrent*.go: sequences
//	dropout.go random*.go loss*.go optimizer*.go training.go: training
//	microsoft*.go: operators of ONNX Runtime
//	expand*.go: what an operator is written out to before it is differentiated
//
// X_grad.go has the gradients of the family X where they do not fit beside it.
//
// Groups that hardly need the others are packages below, each with its list: ml (classical
// models), text, picture, control (inner graphs and lists). What they share with the
// operators here lies below too: move (elements put elsewhere) and narrow (kernels that
// serve float16 and narrower). optest runs single operators, for tests.
//
// Default is the table of all of them. A program that needs an operator of its
// own appends to Lists and makes a table of the result.
//
// Operators of the private domain are what gradients, optimizers and passes lower
// to. They are never written to a file.
package op
