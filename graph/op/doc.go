// Package op holds Tandem's operators, a file per family. A file keeps together
// what belongs to an operator: its shape rule, its kernel and its gradient.
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
