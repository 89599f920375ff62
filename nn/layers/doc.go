// Package layers reads networks that a spec describes: a list of the layers of
// package nn by name.
//
//	layers:
//	  - dense: {units: 64, activation: relu}
//	  - dropout: 0.5            # a value alone is the layer's first setting
//	  - flatten
//	  - residual: {layers: [dense: 64], activation: relu}
//
// A layer's settings are the fields of its Go type.
package layers
