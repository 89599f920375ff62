// Package op holds Tandem's operators, a file per family. A file keeps together
// what belongs to an operator: its shape rule, its kernel and its gradient.
//
// Default is the table of all of them. A program that needs an operator of its
// own appends to Lists and makes a table of the result.
//
// Operators of the private domain are what gradients, optimizers and passes lower
// to. They are never written to a file.
package op
