// Package onnx reads and writes the ONNX file format (onnx.proto, IR versions 3 to
// 13), by hand on top of protowire: tensors are borrowed from the file, and what a
// damaged file can cost is bounded.
//
// The files follow the data, in and then out:
//
//	wire.go      fields of a protobuf message; the field numbers of onnx.proto
//	load.go      Load: files and mappings
//	model.go     Read: ModelProto, opsets, metadata
//	graph.go     GraphProto: scopes, order of nodes
//	node.go      NodeProto and AttributeProto; list.go, attributes of many elements
//	function.go  FunctionProto: model-local functions, written out where they are used
//	tensor.go    TensorProto in all its storage forms; external data
//	sparse.go    SparseTensorProto: made dense
//	value.go     ReadValue: tensors, sequences and optionals in files of their own
//	type.go      ValueInfoProto: element types and shapes
//	save.go      Save and Write: names, files
//	encode.go    messages made of pieces, so that weights are not copied
//	put.go       graphs, nodes and tensors as messages
//
// # What is not kept
//
// Documentation strings, producer, value information of inner values where it is
// incomplete, quantization annotations and training information are dropped. An
// initializer that is also an input is a constant: its default cannot be
// overridden. Constant nodes become constants, sparse ones dense.
//
// # Bad input
//
// No file makes Read panic. Its memory is bounded by about 100 times the file's
// bytes that are not tensor data, plus the tensor data. Nesting is bounded, and
// external data stays inside the model's folder.
package onnx
