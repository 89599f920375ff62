// Package data holds the examples that models learn from: datasets, their
// deterministic order and split, and the readers of file formats.
//
// A Dataset is a set of named columns; the first dimension of each is the
// example. Everything random here is a specified function of a seed: the same
// call gives the same rows on every machine and in every release, because a
// training job that resumes after a crash depends on it.
package data
