// Package npz reads and writes NumPy's files of named arrays.
//
// A file is a zip archive whose members are arrays in NumPy's own format:
//
//	npz.go     Read and Write: the archive
//	header.go  the header of an array: type, order, shape
//	array.go   the elements of an array
//
// All types that NumPy has and tensors have are read and written: booleans, integers,
// floats of 16, 32 and 64 bits, in both byte orders, and strings. Arrays of Python
// objects are refused: reading them would run code.
//
// # Bad input
//
// No file makes Read panic. Memory is bounded by the limits given, and by about a
// thousand times the size of the file: the most that its compression can do.
package npz
