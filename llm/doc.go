// Package llm opens large language models and generates text with them.
//
// From a file to a graph, in the order of the files:
//
//	arch.go               the table of architectures
//	config.go             Config: what the graph of one model depends on
//	config_hf.go          … read from config.json
//	weights.go            tensors under one set of names
//	decoder.go            the graph: one form for every architecture
//	decoder_attention.go  … its attention and cache
//
// A decoder is a graph of ONNX operators (opset 24). Its inputs are the tokens of a
// step, their positions, and how much of the cache is filled; its state are the keys
// and values of each layer.
package llm
