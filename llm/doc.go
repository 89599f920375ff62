// Package llm opens large language models and generates text with them.
//
// From a file to an answer, in the order of the files:
//
//	open.go artifact.go        Open: a GGUF file, a Hugging Face folder, an artifact
//	describe.go                Describe: what the files say of a model
//	recommended.go             … and of how to sample its answers
//	arch.go                    the table of architectures
//	config.go                  Config: what the graph of one model depends on
//	config_hf.go config_gguf.go … where it is read
//	weights.go weights_gguf.go tensors under one set of names
//	decoder.go                 the graph: one form for every architecture
//	decoder_attention.go       … its attention and cache
//	packing.go                 room for weights as kernels read them
//	text.go                    text, conversations and tokens
//	model.go stream.go         Generate
//	scheduler.go               what the next step computes: pure decisions
//	engine.go run_paged.go     the loop: plan, run, hand out
//	sampling.go answer.go      which token follows, and where an answer ends
//
// A decoder is a graph of ONNX operators (opset 24). Its inputs are the tokens of a
// step, their positions, and how much of the cache is filled; its state are the keys
// and values of each layer.
package llm
