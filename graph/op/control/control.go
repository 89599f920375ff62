package control

import (
	"fmt"

	"tandem/fault"
	"tandem/graph"
	"tandem/tensor"
)

func onnx(name string) graph.OpID { return graph.OpID{Name: name} }

// Ops run inner graphs, or work on lists of tensors. Their outputs are what the inner
// graphs give, so that types are found by running them.
func Ops() []graph.Op {
	return append(sequenceOps(), []graph.Op{
		{ID: onnx("If"), Since: 1, Late: true, Kernel: kernelIf, Expand: expandIf},
		{ID: onnx("Loop"), Since: 1, Late: true, Kernel: kernelLoop, Expand: expandLoop},
		{ID: onnx("Scan"), Since: 8, Late: true, Kernel: kernelScan8, Expand: refused("a Scan of opset 8 has no gradient")},
		{ID: onnx("Scan"), Since: 9, Late: true, Kernel: kernelScan9, Expand: expandScan},
	}...)
}

func kernelIf(c *graph.Call) (func() error, error) {
	if err := c.Require(1, 1); err != nil {
		return nil, err
	}
	return func() error {
		yes, err := boolIn(c.In[0], "the condition")
		if err != nil {
			return err
		}
		branch := "else_branch"
		if yes {
			branch = "then_branch"
		}
		out, err := c.RunBody(branch, nil)
		if err != nil {
			return err
		}
		return deliver(c, out)
	}, nil
}

// deliver makes the node's outputs those given.
func deliver(c *graph.Call, out []*tensor.Tensor) error {
	if len(out) < len(c.Out) {
		return fmt.Errorf("the inner graph gives %d outputs, the node has %d", len(out), len(c.Out))
	}
	for i, o := range c.Out {
		if o != nil {
			o.Become(out[i])
		}
	}
	return nil
}

// bodyOf is the inner graph of attribute body.
func bodyOf(c *graph.Call) (*graph.Graph, error) {
	body, _ := c.Node.Attrs["body"].(*graph.Graph)
	if body == nil {
		return nil, fmt.Errorf("attribute body is missing")
	}
	return body, nil
}

// collector gathers an output of a body over the iterations.
type collector struct {
	like  *graph.Value // the body's output: its type stands in where nothing was gathered
	items []*tensor.Tensor
}

// maxLoopBytes bounds what a loop holds where the run has no limit of its own.
const maxLoopBytes = 1 << 36

// collect adds the outputs of an iteration and returns their bytes.
func collect(list []collector, out []*tensor.Tensor) (int, error) {
	bytes := 0
	for i, x := range out {
		if isList(x) {
			return 0, fmt.Errorf("output %s of the body is a %v: only tensors can be gathered over iterations", list[i].like.Name, x.DType())
		}
		bytes += bytesIn(x)
		list[i].items = append(list[i].items, x)
	}
	return bytes, nil
}

// checkLoop refuses to go on with a loop that holds so many bytes.
func checkLoop(c *graph.Call, bytes int) error {
	limit := c.MemoryLimitBytes()
	if limit == 0 {
		limit = maxLoopBytes
	}
	if bytes > limit {
		return fault.New("graph.run", fault.TooLarge, "its iterations give more than %d MiB", limit>>20).Try("run fewer iterations, or with a higher memory limit")
	}
	return nil
}

// bytesIn is the memory of a value's elements; an entry of a list counts, too.
func bytesIn(x *tensor.Tensor) int {
	const entry = 64 // bytes
	n := x.DType().ByteLen(x.Len())
	for _, s := range x.Strings() {
		n += entry + len(s)
	}
	for _, item := range x.Items() {
		n += entry + bytesIn(item)
	}
	return n
}

// stacked joins what was gathered along a new axis.
func (s collector) stacked(axis int, backwards bool) (*tensor.Tensor, error) {
	if len(s.items) == 0 {
		return s.none(axis)
	}
	list := s.items
	if backwards {
		list = make([]*tensor.Tensor, len(s.items))
		for i, x := range s.items {
			list[len(list)-1-i] = x
		}
	}
	out, err := joined(list, axis, true)
	if err != nil {
		return nil, fmt.Errorf("output %s of the body: %w", s.like.Name, err)
	}
	return out, nil
}

// none is the result of no iterations: its type is what the body says of one.
// Sizes that the body leaves open are 0.
func (s collector) none(axis int) (*tensor.Tensor, error) {
	t := s.like.Type
	if !t.Known() {
		return nil, fmt.Errorf("output %s of the body has no element type, and there is no iteration to tell it", s.like.Name)
	}
	shape := make([]int, len(t.Shape))
	for i, d := range t.Shape {
		shape[i], _ = d.Value()
	}
	axis, err := graph.Axis(axis, len(shape)+1)
	if err != nil {
		return nil, err
	}
	return tensor.New(t.DType, inserted(shape, axis, 0)...), nil
}
