// Package move is the ground of all operators that put elements elsewhere and do not
// look at them: slices, transposes, gathers, pads, texts, tables of labels.
//
//	mover.go     Mover: elements of one size, by offsets
//	strides.go   Strides: a box of elements in two layouts; Kernel, an operator that is one
//	pieces.go    Pieces: a tensor cut along an axis, or put together
//	packed.go    elements of under a byte, which kernels here see as bytes
//	gradient.go  Gradient: the gradient of any movement, from the movement itself
package move
