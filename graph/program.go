package graph

import (
	"fmt"
	"sync"
	"unsafe"

	"tandem/fault"
	"tandem/kernel"
	"tandem/tensor"
)

// Pass rewrites a graph in place into an equivalent one.
type Pass struct {
	Name string
	Run  func(*Graph, *Table) error
}

// Options are what Compile needs besides the graph.
type Options struct {
	Ops    *Table
	Pool   *kernel.Pool
	Passes []Pass
	// MemoryLimitBytes bounds the working memory of one run; 0 is no limit.
	MemoryLimitBytes int
	// Profile, if there is one, measures every run.
	Profile *Profile
	// Check, if there is one, sees every result of a node when it has been computed;
	// an error ends the run.
	Check func(n *Node, output int, result *tensor.Tensor) error
}

// Program is a graph made ready to run. It is immutable; any number of sessions
// share it and its constants.
type Program struct {
	g        *Graph
	ops      []*Op      // by node
	reads    [][]*Value // by node
	lastRead map[*Value]int
	bodies   map[*Node]map[string]*Program
	opt      Options
	inner    bool     // of a body of another program's node
	derived  sync.Map // what kernels read out of attributes, by derivedOf
}

// Compile copies g, infers its types, applies the passes in order and checks that
// a plan exists.
func Compile(g *Graph, opt Options) (*Program, error) {
	g, _ = g.Clone()
	// Passes and lowering write operators of domains that a file need not import.
	for domain, version := range Opsets() {
		if _, ok := g.Opset[domain]; !ok && domain != "" {
			if g.Opset == nil {
				g.Opset = map[string]int{}
			}
			g.Opset[domain] = version
		}
	}
	if err := ExpandGradients(g, opt.Ops); err != nil {
		return nil, fault.Wrap(err, "graph.compile", fault.Unsupported, "")
	}
	if err := InferTypes(g, opt.Ops); err != nil {
		return nil, fault.Wrap(err, "graph.compile", fault.Invalid, "")
	}
	for _, p := range opt.Passes {
		if err := p.Run(g, opt.Ops); err != nil {
			return nil, fault.Wrap(err, "graph.compile", fault.KindOf(err), "pass %s", p.Name).Try(fault.RemedyOf(err))
		}
	}
	p := &Program{g: g, opt: opt, ops: make([]*Op, len(g.Nodes)), lastRead: lastReads(g), bodies: map[*Node]map[string]*Program{}}
	if err := checkOrder(g); err != nil {
		return nil, fault.Wrap(err, "graph.compile", fault.Invalid, "")
	}
	for i, n := range g.Nodes {
		op, err := opt.Ops.Of(g, n)
		if err != nil {
			return nil, fault.Wrap(err, "graph.compile", fault.Unsupported, "node %v", n)
		}
		if err := checkEncodings(n, op); err != nil {
			return nil, err
		}
		p.ops[i] = op
		p.reads = append(p.reads, n.Reads())
		if err := p.compileBodies(n); err != nil {
			return nil, err
		}
	}
	if _, err := p.layOut(0, len(g.Nodes), static{}.typeOf); err != nil {
		return nil, fault.Wrap(err, "graph.compile", fault.Invalid, "")
	}
	return p, nil
}

// checkEncodings refuses constants that the operator would read as dense.
func checkEncodings(n *Node, op *Op) error {
	if op.Encoded {
		return nil
	}
	for _, v := range n.Inputs {
		if v != nil && v.Const != nil && v.Const.Encoding != Dense {
			return fault.New("graph.compile", fault.Unsupported, "node %v does not read %s, which is in encoding %q", n, v.Name, v.Const.Encoding).
				Try("compile with the passes for inference")
		}
	}
	return nil
}

// compileBodies compiles the inner graphs of a node. What a body captures becomes
// further inputs of its program. Sizes may differ from one run of a body to the
// next, so that nothing is known of its inputs before.
func (p *Program) compileBodies(n *Node) error {
	for _, b := range n.Bodies() {
		captures := b.Graph.Captures()
		inner, to := b.Graph.Clone()
		for _, v := range captures {
			inner.Inputs = append(inner.Inputs, to[v])
		}
		for _, v := range inner.Inputs {
			v.Type, v.Content = Type{}, nil
		}
		if inner.Opset == nil {
			inner.Opset = p.g.Opset
		}
		opt := p.opt
		opt.Passes = nil
		prog, err := Compile(inner, opt)
		if err != nil {
			return fault.Wrap(err, "graph.compile", fault.KindOf(err), "inner graph %s of node %v", b.Attr, n)
		}
		prog.inner = true
		if p.bodies[n] == nil {
			p.bodies[n] = map[string]*Program{}
		}
		p.bodies[n][b.Attr] = prog
	}
	return nil
}

// checkOrder refuses a node that reads what nothing before it defines.
func checkOrder(g *Graph) error {
	defined := map[*Value]bool{}
	for _, v := range g.Inputs {
		defined[v] = true
	}
	for _, s := range g.State {
		defined[s.Current] = true
	}
	known := func(v *Value) bool { return v.Const != nil || defined[v] }
	for _, n := range g.Nodes {
		for _, v := range n.Reads() {
			if !known(v) {
				return fmt.Errorf("node %v reads %s, which nothing before it defines", n, v.Name)
			}
		}
		for _, v := range n.Outputs {
			defined[v] = true
		}
	}
	for _, v := range g.Outputs {
		if !known(v) {
			return fmt.Errorf("output %s is not computed by any node", v.Name)
		}
	}
	for _, s := range g.State {
		if !known(s.Next) {
			return fmt.Errorf("the next value of state %s is not computed by any node", s.Current.Name)
		}
	}
	return nil
}

// Graph is what the program runs, after the passes: not to be changed.
func (p *Program) Graph() *Graph { return p.g }

// ConstantBytes is the memory that the constants take; what several share counts once.
func (p *Program) ConstantBytes() int {
	n, seen := 0, map[*byte]bool{}
	for _, v := range p.g.Constants() {
		if first := unsafe.SliceData(v.Const.Data); !seen[first] {
			seen[first] = true
			n += len(v.Const.Data)
		}
	}
	return n
}

// check compares the inputs of a run with what the graph declares, and finds the
// numbers of its symbols to see that they do not contradict each other.
func (p *Program) check(in []*tensor.Tensor) error {
	const op = "graph.run"
	if len(in) != len(p.g.Inputs) {
		return fault.New(op, fault.Invalid, "%d inputs given, the model has %d", len(in), len(p.g.Inputs))
	}
	bind := map[string]int{}
	for i, v := range p.g.Inputs {
		if in[i] == nil {
			return fault.New(op, fault.Invalid, "input %q is missing", v.Name)
		}
		if !v.Type.Known() || v.Type.DType.Bits() == 0 && v.Type.DType != tensor.String {
			continue
		}
		if in[i].DType() != v.Type.DType || in[i].Rank() != len(v.Type.Shape) {
			return fault.New(op, fault.Invalid, "input %q is %v, expected %v", v.Name, in[i], v.Type)
		}
		for j, d := range v.Type.Shape {
			name, ok := d.symbol()
			if !ok {
				continue
			}
			if have, ok := bind[name]; ok && have != in[i].Dim(j) {
				return fault.New(op, fault.Invalid, "input %q has %d for dimension %q, another input has %d", v.Name, in[i].Dim(j), name, have)
			}
			bind[name] = in[i].Dim(j)
		}
	}
	for i, v := range p.g.Inputs {
		want, err := v.Type.Shape.Eval(bind)
		if err != nil {
			return fault.Wrap(err, op, fault.Invalid, "input %q", v.Name)
		}
		if v.Type.Known() && v.Type.DType.Bits() > 0 && !want.Equal(in[i].Shape()) {
			return fault.New(op, fault.Invalid, "input %q has shape %v, expected %v", v.Name, in[i].Shape(), v.Type.Shape)
		}
	}
	return nil
}

func asF32(b []byte) []float32 {
	return unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/4)
}
