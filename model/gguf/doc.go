// Package gguf reads and writes GGUF files: typed metadata and tensors in the block
// encodings of package block.
//
//	metadata.go  Metadata: an ordered map with typed access
//	file.go      Open: a mapped file, checked whole
//	parts.go     a model in several files
//	parse.go     the reader of foreign bytes, with its limits
//	write.go     Writer
//	quantize.go  Quantize: a file again with other encodings
//
// A GGUF file is: magic, version, two counts; pairs of a key and a typed value;
// for each tensor a name, dimensions (fastest first), an encoding and an offset; then
// the tensors' bytes, each on a multiple of the alignment. Numbers are
// little-endian. The format is described in docs/gguf.md of the ggml project.
package gguf
