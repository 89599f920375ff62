// Command outputs runs a model on files of NumPy's through the library, one after
// another, and writes what comes out: the counterpart of a session of onnxruntime in
// the comparison of bench/parity.py.
package main
