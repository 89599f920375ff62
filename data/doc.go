// Package data holds the examples that models learn from: datasets, their
// deterministic order and split, and the readers of file formats.
//
// A Dataset is a set of named columns; the first dimension of each is the
// example. It lies in memory, or streams from where it is, in blocks; readers see
// no difference, but that a column of one that streams can't be had whole:
//
//	dataset.go   Dataset, Field: what there is
//	reader.go    Read: all examples in batches, in order or shuffled; resumed at any batch
//	order.go     permutations
//	digest.go    the identity of the examples
//	open.go      Open: a file or a folder, recognised by name and content
//	table.go     rows, in two passes: what the columns are, then their values
//	infer.go     … what a column is, by all of its values
//	values.go, convert.go  … a text as a value, and a value as its bytes
//	missing.go   … and which stand for a missing one
//	store.go     … blocks of rows, in memory or in a file that has no name
//	split.go     which rows are held out to test with
//	held.go      … and that each class has examples to train with
//	idx.go       IDX; openidx.go, a set in the form of MNIST
//	pictures.go  a folder or a zip of pictures, by class
//	tokens.go    files of tokens
//
// Everything random here is a specified function of a seed: the same call gives
// the same rows on every machine and in every release, because a training job that
// resumes after a crash depends on it.
package data
