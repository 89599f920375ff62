package pass

import (
	"slices"

	"tandem/graph"
)

// UpdateEarly moves every node that only computes next state to where its inputs
// are ready and nothing else will read what it overwrites. A gradient then lives
// until its own update and not until the end of the step.
func UpdateEarly() graph.Pass {
	return graph.Pass{Name: "update-early", Run: func(g *graph.Graph, _ *graph.Table) error {
		current := map[*graph.Value]*graph.Value{}
		for _, s := range g.State {
			current[s.Next] = s.Current
		}
		var updates, others []*graph.Node
		for _, n := range g.Nodes {
			if onlyState(n, current) {
				updates = append(updates, n)
			} else {
				others = append(others, n)
			}
		}
		after := map[*graph.Node][]*graph.Node{} // updates to run after a node; nil: first
		position := map[*graph.Node]int{}
		for i, n := range others {
			position[n] = i
		}
		lastRead := map[*graph.Value]*graph.Node{}
		for _, n := range others {
			for _, v := range n.Inputs {
				if v != nil {
					lastRead[v] = n
				}
			}
		}
		placed := map[*graph.Node]*graph.Node{} // updates, by what they run after
		for _, u := range updates {
			var at *graph.Node
			later := func(n *graph.Node) {
				if before, ok := placed[n]; ok {
					n = before // an update that reads what another one made follows it
				}
				if n != nil && (at == nil || position[n] > position[at]) {
					at = n
				}
			}
			for _, v := range u.Inputs {
				if v == nil {
					continue
				}
				later(v.Def)
				if slices.ContainsFunc(u.Outputs, func(o *graph.Value) bool { return current[o] == v }) {
					later(lastRead[v])
				}
			}
			after[at] = append(after[at], u)
			placed[u] = at
		}
		nodes := after[nil]
		for _, n := range others {
			nodes = append(append(nodes, n), after[n]...)
		}
		g.Nodes = nodes
		return nil
	}}
}

// onlyState reports whether every output of n is next state that nothing reads.
func onlyState(n *graph.Node, current map[*graph.Value]*graph.Value) bool {
	for _, o := range n.Outputs {
		if o == nil || current[o] == nil {
			return false
		}
	}
	return len(n.Outputs) > 0
}
