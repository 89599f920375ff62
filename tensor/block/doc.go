// Package block holds the encodings of weights that GGUF files use: rows of
// numbers cut into blocks, each with its own scales and a few bits a number.
//
//	format.go  Format: names, sizes, what Tandem can encode and decode
//	codec.go   Encode and Decode
//	simple.go  blocks of 32: Q4_0, Q4_1, Q5_0, Q5_1, Q8_0
//	super.go   blocks of 256 made of smaller ones: Q4_K, Q5_K, Q6_K
//	search.go  the search for the scales of the latter
//
// It is plain Go and the reference: the kernels that multiply blocks are tested
// against it, and it gives the bytes and numbers that ggml, from which the formats
// come, gives for the same input.
package block
