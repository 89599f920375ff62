// Package conformance runs the cases of the ONNX backend test suite: folders that
// hold a model, inputs, and the outputs that are expected.
//
//	cases.go    finds the cases beneath a folder
//	run.go      Run: cases side by side, results in order
//	one.go      one case: load, compile, run every data set
//	compare.go  outputs against those expected, within the suite's tolerance
//	report.go   the report that docs/conformance.md holds
//
// A case is a folder with model.onnx and test_data_set_0, test_data_set_1, …, each
// with input_N.pb and output_N.pb. The folder around it names the set it belongs to.
package conformance
