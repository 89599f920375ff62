// Package tune begins training with a network that is there already: an ONNX file, a
// run, or an artifact.
//
//	start.go   Start: what a spec says of it; Open
//	cut.go     the part of the graph that is kept, and the new head upon it
//	params.go  which constants of a graph are parameters, and their names
//	lora.go    low-rank pairs beside frozen weights, merged into them when training ends
package tune
