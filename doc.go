// Package tandem is the root of a program, and of a library, with which models are
// trained and served in Go alone.
//
// The program is cmd/tandem. The library begins here: Open opens a model, Run runs it.
//
//	m, err := tandem.Open("model.onnx", tandem.Options{})
//	…
//	defer m.Close()
//	out, err := m.Run(ctx, map[string]*tensor.Tensor{"x": tensor.Of(pixels, 1, 3, 224, 224)})
//
// What lies beneath is every package outside internal:
//
//	tensor     element types, shapes, buffers; tensor/block, weights in few bits
//	kernel     compute on slices of numbers, in assembly with a plain-Go reference
//	graph      networks as graphs of ONNX operators: gradients, passes, programs;
//	           graph/op has the operators, graph/pass the rewrites, graph/onnx the file
//	           format; graph/precision rounds networks to few bits
//	nn         layers that write graphs
//	data       datasets; data/rows, CSV, JSONL and Parquet; data/npz, the files of NumPy
//	processor  images to tensors; processor/tokenizer and processor/chat, text to tokens
//	model      artifacts: complete, content-addressed models; model/gguf, GGUF files
//	train      training jobs; train/tune begins with a network that is there already
//	llm        large language models: Open, Generate
//	family     the kinds of models that can be trained
//	fault      errors with a closed kind and a remedy
//
// docs/ARCHITECTURE.md is a tour in the order in which data passes through them.
//
// # Stability
//
// Tandem is at version 0. Until version 1:
//
//   - What is written to disk stays readable: an artifact, a run directory and a data
//     directory of any released version open in every later one, or are migrated.
//   - The network API (/v1, /v2 and /api/v1) and the command line change only by addition.
//   - The Go API may change in any minor version; the change is named in the release's
//     notes, with what to write instead. Packages under internal are nobody's to import.
//   - Bits: the same artifact, input and instruction tier give the same output bits
//     within one version. A version that changes them says so.
//
// From version 1 on, the Go API follows the Go project's promise: programs that compile
// and run with 1.0 go on doing so with every 1.x.
package tandem
