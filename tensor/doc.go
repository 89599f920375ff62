// Package tensor holds what every other package speaks of: element types, shapes
// and dense row-major buffers.
//
// A Tensor owns or borrows one block of bytes. It carries no strides: a view that
// is not contiguous is made by the operator that needs it. Types are numbered as
// ONNX's TensorProto.DataType numbers them, so that no table translates them.
package tensor
