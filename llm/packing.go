package llm

import "tandem/graph"

// packingRegion is room for the packed weights, in the order in which they are packed,
// which is that of execution: reading ahead of one weight then warms the next.
func (w *weights) packingRegion() (*graph.Region, error) {
	n := 0
	for _, c := range w.byName {
		// A panel rounds the number of rows up, and a row may gain a fortieth.
		n += len(c.Data) + len(c.Data)/16 + 1<<20
	}
	return graph.NewRegion(n)
}
