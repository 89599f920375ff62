// Package graph is the one form in which Tandem holds a neural model: a list of
// ONNX operators over named values.
//
// What is trained, imported, served and exported is a Graph. The files follow
// the order in which a graph passes through them:
//
//	graph.go          Graph, Node, Value, Constant: the data
//	encoding.go       how the bytes of a constant hold its elements
//	dim.go            dimensions as expressions over symbols ("batch", 2*len+1)
//	op.go             Op: shape rule, kernel and gradient of one operator; Table
//	builder.go        adding nodes; types are inferred as they are added
//	infer.go          what a shape rule sees
//	expand.go         Expand: fused forms and loops written out, for gradients
//	expand_types.go   … and other floats put between casts to float32
//	grad.go           Grad: the backward pass as more nodes
//	grad_route.go     which nodes a derivative passes; what it cannot pass is refused
//	gradient_node.go  a node that asks for a gradient becomes the nodes that compute it
//	plan.go           lifetimes, storage shared in place, offsets in one arena
//	program.go        Compile: a graph made ready to run
//	derive.go         what kernels keep with a program, whatever the shapes
//	frame.go          what one run uses, prepared for shapes in numbers
//	segment.go        … part by part, where shapes depend on data
//	rows.go           … and some rows after others, where a batch does not fit the cache
//	session.go        Run: frames kept by shape, state, cancellation
//	profile.go        where the time of runs goes
//	estimate.go       what a run is expected to take
//	region.go, spare.go, memory_*.go  memory outside the Go heap
//
// Operators live in graph/op, a file per family, and in packages below it; rewrites in
// graph/pass and graph/precision; the file format in graph/onnx.
//
// # Order of sums
//
// The order in which a kernel adds depends on the reduced dimension alone: never
// on the rows of a batch, on threads or on how work was cut up. A row therefore
// has the same bits alone and among others, and training does not depend on the
// number of threads.
package graph
