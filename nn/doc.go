// Package nn holds layers: small values that write the nodes of a network into a
// graph, with named and initialised parameters.
//
// A layer has no state and computes nothing. What it wrote is a graph of standard
// operators like any imported one.
package nn
