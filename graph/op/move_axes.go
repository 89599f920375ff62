package op

import (
	"fmt"

	"tandem/graph"
	"tandem/graph/op/move"
)

// axesOps copy every element of their input, in another order or several times.
func axesOps() []graph.Op {
	return []graph.Op{
		{ID: onnx("Transpose"), Since: 1, Infer: inferTranspose, Kernel: move.Kernel(planTranspose), Grad: gradTranspose},
		{ID: onnx("DepthToSpace"), Since: 1, Infer: inferDepthToSpace, Kernel: move.Kernel(planDepthToSpace), Grad: gradDepthToSpace},
		{ID: onnx("SpaceToDepth"), Since: 1, Infer: inferSpaceToDepth, Kernel: move.Kernel(planSpaceToDepth), Grad: gradSpaceToDepth},
		{ID: onnx("Expand"), Since: 8, Infer: inferExpand, Kernel: move.Kernel(planExpand), Grad: gradExpand},
		{ID: onnx("Tile"), Since: 6, Infer: inferTile, Kernel: move.Kernel(planTile), Grad: move.Gradient(0)},
	}
}

// permOf is the attribute perm, which reverses the dimensions unless it is given.
func permOf(a graph.Attrs, rank int) ([]int, error) {
	perm := a.Ints("perm")
	if perm == nil {
		perm = make([]int, rank)
		for i := range perm {
			perm[i] = rank - 1 - i
		}
	}
	if len(perm) != rank {
		return nil, fmt.Errorf("perm %v has %d axes for %d dimensions", perm, len(perm), rank)
	}
	return axesIn(perm, rank)
}

func inferTranspose(c *graph.Infer) error {
	if err := c.Require(1, 1); err != nil {
		return err
	}
	in := c.In(0)
	perm, err := permOf(c.Node.Attrs, len(in.Shape))
	if err != nil {
		return err
	}
	shape := make(graph.Shape, len(perm))
	for i, p := range perm {
		shape[i] = in.Shape[p]
	}
	c.Out(0, in.DType, shape)
	if len(perm) < 2 {
		passContent(c)
	}
	return nil
}

func planTranspose(c *graph.Call) (*move.Strides, error) {
	perm, err := permOf(c.Node.Attrs, c.In[0].Rank())
	if err != nil {
		return nil, err
	}
	s := move.Box(c.Out[0].Shape())
	for i, d := range move.Dense(c.In[0].Shape()) {
		for j, p := range perm {
			if p == i {
				s.From[j] = d
			}
		}
	}
	return s, nil
}

func gradTranspose(g *graph.Gradient) error {
	perm, err := permOf(g.Node.Attrs, len(g.In(0).Type.Shape))
	if err != nil {
		return err
	}
	inverse := make([]int64, len(perm))
	for i, p := range perm {
		inverse[p] = int64(i)
	}
	g.Set(0, g.Op("Transpose", graph.Attrs{"perm": inverse}, g.Out(0)))
	return nil
}

// blockOf is the block size of DepthToSpace and SpaceToDepth.
func blockOf(c *graph.Infer) (int, error) {
	if err := c.Require(1, 1); err != nil {
		return 0, err
	}
	if err := c.Rank(0, 4); err != nil {
		return 0, err
	}
	b := c.Node.Attrs.Int("blocksize", 0)
	if b < 1 || b > 1<<15 {
		return 0, fmt.Errorf("blocksize %d is outside [1, %d]", b, 1<<15)
	}
	if mode := c.Node.Attrs.String("mode", "DCR"); mode != "DCR" && mode != "CRD" {
		return 0, fmt.Errorf("mode %q is neither DCR nor CRD", mode)
	}
	return b, nil
}

// divide divides a dimension without a rest.
func divide(d graph.Dim, by int, what string) (graph.Dim, error) {
	if n, ok := d.Value(); ok && n%by != 0 {
		return d, fmt.Errorf("%s: %d is no multiple of %d", what, n, by)
	}
	return d.Div(graph.Const(by)), nil
}

func inferDepthToSpace(c *graph.Infer) error {
	b, err := blockOf(c)
	if err != nil {
		return err
	}
	in := c.In(0)
	depth, err := divide(in.Shape[1], b*b, "channels")
	if err != nil {
		return err
	}
	c.Out(0, in.DType, graph.Shape{in.Shape[0], depth, in.Shape[2].Mul(graph.Const(b)), in.Shape[3].Mul(graph.Const(b))})
	return nil
}

// planDepthToSpace: the input's channel is (row in block, column in block, depth),
// or with CRD (depth, row, column).
func planDepthToSpace(c *graph.Call) (*move.Strides, error) {
	in, b := c.In[0].Shape(), c.Node.Attrs.Int("blocksize", 1)
	n, depth, h, w := in[0], in[1]/(b*b), in[2], in[3]
	s := move.Box([]int{n, depth, h, b, w, b})
	area := h * w
	if c.Node.Attrs.String("mode", "DCR") == "CRD" {
		s.From = []int{in[1] * area, b * b * area, w, b * area, 1, area}
	} else {
		s.From = []int{in[1] * area, area, w, b * depth * area, 1, depth * area}
	}
	return s, nil
}

func inferSpaceToDepth(c *graph.Infer) error {
	b, err := blockOf(c)
	if err != nil {
		return err
	}
	in := c.In(0)
	h, err := divide(in.Shape[2], b, "height")
	if err != nil {
		return err
	}
	w, err := divide(in.Shape[3], b, "width")
	if err != nil {
		return err
	}
	c.Out(0, in.DType, graph.Shape{in.Shape[0], in.Shape[1].Mul(graph.Const(b * b)), h, w})
	return nil
}

// planSpaceToDepth is the inverse of planDepthToSpace; version 28 brings the mode.
func planSpaceToDepth(c *graph.Call) (*move.Strides, error) {
	in, b := c.In[0].Shape(), c.Node.Attrs.Int("blocksize", 1)
	n, depth, h, w := in[0], in[1], in[2]/b, in[3]/b
	area, row := in[2]*in[3], in[3]
	if c.Node.Attrs.String("mode", "DCR") == "CRD" {
		s := move.Box([]int{n, depth, b, b, h, w})
		s.From = []int{depth * area, area, row, 1, b * row, b}
		return s, nil
	}
	s := move.Box([]int{n, b, b, depth, h, w})
	s.From = []int{depth * area, row, 1, area, b * row, b}
	return s, nil
}

func inferExpand(c *graph.Infer) error {
	if err := c.Require(2, 2); err != nil {
		return err
	}
	target, ok := c.Content(1)
	if !ok {
		return graph.ErrNeedsData
	}
	in := c.In(0)
	shape, err := graph.Broadcast(in.Shape, target)
	if err != nil {
		return err
	}
	c.Out(0, in.DType, shape)
	if n, ok := shape.Len().Value(); ok && n == 1 {
		passContent(c)
	}
	return nil
}

func planExpand(c *graph.Call) (*move.Strides, error) {
	return move.Broadcast(c.In[0].Shape(), c.Out[0].Shape())
}

func gradExpand(g *graph.Gradient) error {
	g.Set(0, sumTo(g, g.Out(0), 0))
	return nil
}

func inferTile(c *graph.Infer) error {
	if err := c.Require(2, 2); err != nil {
		return err
	}
	in := c.In(0)
	repeats, ok := c.Content(1)
	if !ok {
		return graph.ErrNeedsData
	}
	if len(repeats) != len(in.Shape) {
		return fmt.Errorf("%d repeats for shape %v", len(repeats), in.Shape)
	}
	shape := make(graph.Shape, len(in.Shape))
	for i, d := range in.Shape {
		if n, ok := repeats[i].Value(); ok && n < 0 {
			return fmt.Errorf("dimension %d is to be repeated %d times", i, n)
		}
		shape[i] = d.Mul(repeats[i])
	}
	c.Out(0, in.DType, shape)
	return nil
}

// planTile sees each output dimension as (repeat, input dimension).
func planTile(c *graph.Call) (*move.Strides, error) {
	in, out := c.In[0].Shape(), c.Out[0].Shape()
	shape := make([]int, 0, 2*len(in))
	for i, d := range in {
		shape = append(shape, out[i]/max(d, 1), d)
	}
	s := move.Box(shape)
	for i, d := range move.Dense(in) {
		s.From[2*i], s.From[2*i+1] = 0, d
	}
	return s, nil
}
