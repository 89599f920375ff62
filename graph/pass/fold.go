package pass

import (
	"context"
	"slices"

	"tandem/graph"
	"tandem/kernel"
	"tandem/tensor"
)

// Limits of folding. A node's result may be twice as large as what it reads, and a
// little more: a turned or converted weight is worth keeping, a bias written out over a
// batch is not. All results together may double the model: a file of a few bytes cannot
// ask for memory by doubling a constant again and again.
const (
	foldFactor    = 2
	foldWiden     = 8 // of bytes, or less, to floats
	foldFreeBytes = 64 << 10
	foldAllBytes  = 16 << 20
)

// Fold computes what depends on constants alone once, instead of in every run: nodes
// whose inputs are constants, shapes that turn out to be numbers, and branches whose
// condition is known. What is folded in a graph is a constant for the graphs within its
// nodes, too. Random numbers are not folded, nor lists.
func Fold(p *kernel.Pool) graph.Pass {
	return graph.Pass{Name: "fold", Run: func(g *graph.Graph, ops *graph.Table) error {
		f := &folder{ops: ops, pool: p, left: foldAllBytes}
		for _, v := range g.Constants() {
			f.left += len(v.Const.Data)
		}
		// What was found out may tell the shapes of what comes after, and those more numbers.
		for f.fold(g, g.Opset) {
			if err := graph.InferTypes(g, ops); err != nil {
				return err
			}
		}
		return nil
	}}
}

type folder struct {
	ops  *graph.Table
	pool *kernel.Pool
	left int // bytes that results may take still
}

// fold reports whether anything was.
func (f *folder) fold(g *graph.Graph, opset map[string]int) bool {
	if g.Opset != nil {
		opset = g.Opset
	}
	changed := false
	var kept []*graph.Node
	for queue := slices.Clone(g.Nodes); len(queue) > 0; {
		n := queue[0]
		queue = queue[1:]
		if branch := taken(n); branch != nil {
			queue = append(splice(n, branch), queue...)
			changed = true
			continue
		}
		if f.node(n, opset) {
			changed = true
			continue
		}
		for _, b := range n.Bodies() {
			changed = f.fold(b.Graph, opset) || changed
		}
		kept = append(kept, n)
	}
	g.Nodes = kept
	return changed
}

// taken is the branch of an If whose condition is known.
func taken(n *graph.Node) *graph.Graph {
	if n.Op != (graph.OpID{Name: "If"}) || n.Input(0) == nil || n.Inputs[0].Const == nil {
		return nil
	}
	t, err := n.Inputs[0].Const.Tensor()
	if err != nil || t.DType() != tensor.Bool || t.Len() != 1 {
		return nil
	}
	name := "else_branch"
	if t.Bytes()[0] != 0 {
		name = "then_branch"
	}
	branch, _ := n.Attrs[name].(*graph.Graph)
	if branch == nil || branch.Opset != nil || len(branch.Outputs) < len(n.Outputs) {
		return nil
	}
	return branch
}

// splice are the nodes of a branch, and those that give its outputs the place of n's.
// The values of n stay: graphs around read them.
func splice(n *graph.Node, branch *graph.Graph) []*graph.Node {
	nodes := slices.Clone(branch.Nodes)
	for i, y := range n.Outputs {
		if y == nil {
			continue
		}
		id := &graph.Node{Op: graph.OpID{Name: "Identity"}, Inputs: []*graph.Value{branch.Outputs[i]}, Outputs: []*graph.Value{y}}
		y.Def = id
		nodes = append(nodes, id)
	}
	return nodes
}

// node makes constants of a node's outputs, if it can.
func (f *folder) node(n *graph.Node, opset map[string]int) bool {
	op, err := f.ops.Of(&graph.Graph{Opset: opset}, n)
	if err != nil || op.Random || len(n.Bodies()) > 0 || len(n.Outputs) == 0 {
		return false
	}
	if known(n) {
		return true
	}
	bytes := 0
	for _, v := range n.Inputs {
		if v == nil {
			continue
		}
		if v.Const == nil || v.Const.Encoding != graph.Dense {
			return false
		}
		bytes += len(v.Const.Data)
	}
	factor := foldFactor
	if n.Op == (graph.OpID{Name: "DequantizeLinear"}) { // each run would do it again
		factor = foldWiden
	}
	limit := min(factor*bytes+foldFreeBytes, f.left)
	if op.View && f.view(n, opset) {
		return true
	}
	out, err := f.compute(n, opset, limit)
	if err != nil {
		return false // what is wrong with it is said when it runs, if it does
	}
	for i, y := range n.Outputs {
		if y == nil {
			continue
		}
		c := graph.ConstantOf(out[i])
		if op.View { // the same elements
			c.Data = n.Inputs[0].Const.Data
		} else {
			f.left -= len(c.Data)
		}
		setConstant(y, c)
	}
	return true
}

// known makes a constant of a node's one output if shape rules have found its elements.
func known(n *graph.Node) bool {
	y := n.Outputs[0]
	if len(n.Outputs) != 1 || y == nil || y.Content == nil || y.Type.DType != tensor.Int64 {
		return false
	}
	shape, ok := y.Type.Shape.Static()
	numbers, all := graph.Shape(y.Content).Static()
	if !ok || !all || shape.Len() != len(numbers) {
		return false
	}
	t := tensor.New(tensor.Int64, shape...)
	for i, v := range numbers {
		t.I64()[i] = int64(v)
	}
	setConstant(y, graph.ConstantOf(t))
	return true
}

func setConstant(y *graph.Value, c *graph.Constant) {
	y.Const, y.Def = c, nil
	y.Type = graph.Type{DType: c.DType, Shape: graph.Dims(c.Shape...)}
}

// view makes a constant of the output of a node that only gives its input another
// shape: one that shape rules find.
func (f *folder) view(n *graph.Node, opset map[string]int) bool {
	g, _ := alone(n, opset)
	if len(g.Outputs) != 1 || graph.InferTypes(g, f.ops) != nil {
		return false
	}
	c := n.Inputs[0].Const
	shape, ok := g.Outputs[0].Type.Shape.Static()
	if !ok || shape.Len() != c.Shape.Len() || g.Outputs[0].Type.DType != c.DType || n.Outputs[0] == nil {
		return false
	}
	setConstant(n.Outputs[0], &graph.Constant{DType: c.DType, Shape: shape, Data: c.Data, Strings: c.Strings})
	return true
}

// alone is a graph of a node by itself, with the numbers of the outputs that it has.
func alone(n *graph.Node, opset map[string]int) (*graph.Graph, []int) {
	g := &graph.Graph{Opset: opset}
	m := &graph.Node{Name: n.Name, Op: n.Op, Version: n.Version, Inputs: n.Inputs, Attrs: n.Attrs}
	for range n.Outputs {
		m.Outputs = append(m.Outputs, nil)
	}
	var at []int
	for i, y := range n.Outputs {
		if y != nil {
			m.Outputs[i] = &graph.Value{Name: y.Name, Def: m}
			g.Outputs = append(g.Outputs, m.Outputs[i])
			at = append(at, i)
		}
	}
	g.Nodes = []*graph.Node{m}
	return g, at
}

// compute runs a node on its constants, in a program of its own.
func (f *folder) compute(n *graph.Node, opset map[string]int, limitBytes int) ([]*tensor.Tensor, error) {
	g, at := alone(n, opset)
	got, err := resultsOf(g, graph.Options{Ops: f.ops, Pool: f.pool, MemoryLimitBytes: max(limitBytes, 1)})
	if err != nil {
		return nil, err
	}
	out := make([]*tensor.Tensor, len(n.Outputs))
	for i, x := range got {
		if x.DType().List() {
			return nil, graph.ErrNeedsData
		}
		out[at[i]] = x
	}
	return out, nil
}

// resultsOf runs a graph without inputs.
func resultsOf(g *graph.Graph, opt graph.Options) ([]*tensor.Tensor, error) {
	prog, err := graph.Compile(g, opt)
	if err != nil {
		return nil, err
	}
	s, err := prog.NewSession()
	if err != nil {
		return nil, err
	}
	defer s.Close()
	return s.Run(context.Background(), nil, nil)
}
