// Package ref has the plain-Go counterpart of every kernel in package kernel.
// It is the oracle of that package's tests and the path on processors without
// an assembly tier. The code says what a kernel computes; it is not tuned.
package ref
