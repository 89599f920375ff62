package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"tandem/fault"
	"tandem/graph"
	"tandem/graph/onnx"
	"tandem/graph/op"
	"tandem/graph/pass"
	"tandem/kernel"
	"tandem/model"
	"tandem/processor"
	"tandem/tensor"
	"tandem/train/tune"
)

// inspectCmd is `tandem inspect`.
type inspectCmd struct {
	Path  string   `arg:"" name:"PATH" help:"An .onnx or .gguf file, a Hugging Face folder, or the directory of a run or of a model."`
	Batch int      `help:"Size of the first dimension of inputs where the model leaves it open." placeholder:"N" default:"1"`
	Shape []string `help:"Shape of an input, such as pixels=1x3x224x224, or size of an open dimension, such as length=128. May be given more than once." placeholder:"NAME=SHAPE" sep:"none"`

	Weights bool `help:"List every weight by the name that train.freeze, train.rates and from take, and whether it trains by itself and can have a low-rank pair."`
}

// inspection is what there is to know of a graph without running it.
type inspection struct {
	Name       string            `json:"name,omitempty"`
	Opset      map[string]int    `json:"opset"`
	Inputs     []described       `json:"inputs"`
	Outputs    []described       `json:"outputs"`
	Nodes      int               `json:"nodes"`
	Operators  map[string]int    `json:"operators"`
	Parameters int               `json:"parameters"`
	Bytes      int               `json:"parameter_bytes"`
	Sizes      string            `json:"estimated_for"` // shapes of the inputs
	Work       float64           `json:"estimated_gflop"`
	Memory     int               `json:"estimated_working_bytes"`
	Unknown    int               `json:"nodes_not_estimated,omitempty"`
	Meta       map[string]string `json:"metadata,omitempty"`
	Weights    []tune.Weight     `json:"weights,omitempty"`

	// Of artifacts: what people give and get, beside the tensors.
	Columns []processor.RowColumn `json:"columns,omitempty"`
	Missing []string              `json:"missing,omitempty"` // texts that stand for a missing value
	Labels  []string              `json:"labels,omitempty"`
}

type described struct {
	Name  string `json:"name"`
	DType string `json:"dtype"`
	Shape string `json:"shape"`
}

// Run shows the graph.
func (c *inspectCmd) Run(a *app, ctx context.Context) (err error) {
	path := c.Path
	if languageAt(path) {
		return inspectText(a, path)
	}
	var columns []processor.RowColumn
	var missing, labels []string
	if !isONNX(path) {
		m, src, err := localArtifact(path)
		if err != nil {
			return err
		}
		if err := model.Verify(ctx, m, src); err != nil {
			return err
		}
		f, ok := m.File(model.GraphFile)
		if !ok {
			return fault.New("tandem.inspect", fault.Unsupported, "%s has no graph", path)
		}
		if path, err = src(f); err != nil {
			return err
		}
		rows, err := model.RowsOf(m, src)
		if err != nil {
			return err
		}
		if labels = m.Labels; rows != nil {
			columns, missing = rows.Columns, rows.Missing
		}
	}
	g, mapping, err := onnx.Load(path, onnx.LoadOptions{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, mapping.Close()) }()
	if err := graph.InferTypes(g, op.Default()); err != nil {
		return fault.Wrap(err, "tandem.inspect", fault.Unsupported, "%s uses what Tandem does not compute", path)
	}
	i := inspect(g)
	i.Columns, i.Missing, i.Labels = columns, missing, labels
	if err := i.estimate(g, c); err != nil {
		return err
	}
	if c.Weights {
		n, err := tune.Open(path, op.Default())
		if err != nil {
			return err
		}
		i.Weights = n.Weights()
	}
	if a.json {
		return a.emit(i)
	}
	return i.show(a)
}

func inspect(g *graph.Graph) inspection {
	i := inspection{Name: g.Name, Opset: g.Opset, Inputs: describeAll(g.Inputs), Outputs: describeAll(g.Outputs), Operators: map[string]int{}, Meta: g.Meta}
	i.count(g)
	return i
}

// estimate finds what a run takes. Open dimensions that nothing is said of are 1.
func (i *inspection) estimate(g *graph.Graph, c *inspectCmd) error {
	given, err := parseShapes(c.Shape)
	if err != nil {
		return err
	}
	sizes := openSizes{given: given, used: map[string]bool{}, batch: c.Batch, rest: 1}
	var shapes []tensor.Shape
	var parts []string
	for _, v := range g.Inputs {
		shape, err := sizes.shapeOf(v.Name, v.Type.Shape)
		if err != nil {
			return err
		}
		shapes = append(shapes, shape)
		parts = append(parts, v.Name+"="+shape.String())
	}
	if err := sizes.checkUsed(); err != nil {
		return err
	}
	pool := kernel.NewPool(1, kernel.Detect())
	defer pool.Close()
	e, err := graph.EstimateRun(g, graph.Options{Ops: op.Default(), Pool: pool, Passes: pass.Inference(pool)}, shapes)
	if err != nil {
		return err
	}
	i.Sizes, i.Work, i.Memory, i.Unknown = strings.Join(parts, ", "), e.Work/1e9, e.WorkingBytes, e.Unknown
	return nil
}

// count adds up a graph and those inside its nodes.
func (i *inspection) count(g *graph.Graph) {
	for _, v := range g.Constants() {
		i.Parameters += v.Const.Shape.Len()
		i.Bytes += len(v.Const.Data)
	}
	for _, n := range g.Nodes {
		i.Nodes++
		i.Operators[n.Op.String()]++
		for _, b := range n.Bodies() {
			i.count(b.Graph)
		}
	}
}

func describeAll(values []*graph.Value) []described {
	list := make([]described, len(values))
	for i, v := range values {
		list[i] = described{v.Name, "unknown", "unknown"}
		switch t := v.Described(); {
		case v.Elements != nil:
			list[i].DType, list[i].Shape = v.Elements.String(), "list"
		case t.Known():
			list[i].DType, list[i].Shape = t.DType.String(), t.Shape.String()
		}
	}
	return list
}

func (i inspection) show(a *app) error {
	var opsets []string
	for _, domain := range slices.Sorted(maps.Keys(i.Opset)) {
		name := domain
		if name == "" {
			name = "ai.onnx"
		}
		opsets = append(opsets, name+" "+strconv.Itoa(i.Opset[domain]))
	}
	rows := [][]string{
		{a.msg.Sprintf("Graph"), i.Name},
		{a.msg.Sprintf("Opset"), strings.Join(opsets, ", ")},
		{a.msg.Sprintf("Parameters"), a.msg.Sprintf("%d, %s", i.Parameters, size(int64(i.Bytes)))},
		{a.msg.Sprintf("Nodes"), strconv.Itoa(i.Nodes)},
		{a.msg.Sprintf("A run"), a.msg.Sprintf("%.3f GFLOP, %s of working memory, for %s", i.Work, size(int64(i.Memory)), i.Sizes)},
	}
	if i.Unknown > 0 {
		rows = append(rows, []string{"", a.msg.Sprintf("without %d nodes whose shapes depend on data, or that are inside others", i.Unknown)})
	}
	for _, key := range slices.Sorted(maps.Keys(i.Meta)) {
		rows = append(rows, []string{key, i.Meta[key]})
	}
	if err := a.table(nil, rows); err != nil {
		return err
	}
	if err := i.showColumns(a); err != nil {
		return err
	}
	for _, side := range []struct {
		title  string
		values []described
	}{{"INPUT", i.Inputs}, {"OUTPUT", i.Outputs}} {
		fmt.Fprintln(a.out)
		var lines [][]string
		for _, d := range side.values {
			lines = append(lines, []string{d.Name, d.DType, d.Shape})
		}
		if err := a.table([]string{side.title, "TYPE", "SHAPE"}, lines); err != nil {
			return err
		}
	}
	fmt.Fprintln(a.out)
	names := slices.SortedFunc(maps.Keys(i.Operators), func(x, y string) int {
		if i.Operators[x] != i.Operators[y] {
			return i.Operators[y] - i.Operators[x]
		}
		return strings.Compare(x, y)
	})
	var lines [][]string
	for _, name := range names {
		lines = append(lines, []string{name, strconv.Itoa(i.Operators[name])})
	}
	if err := a.table([]string{"OPERATOR", "NODES"}, lines); err != nil || len(i.Weights) == 0 {
		return err
	}
	return i.showWeights(a)
}

// showColumns shows what rows have, and what is said of them or of pictures.
func (i inspection) showColumns(a *app) error {
	if len(i.Columns) > 0 {
		fmt.Fprintln(a.out)
		var lines [][]string
		for _, c := range i.Columns {
			lines = append(lines, []string{c.Name, string(c.Kind), someOf(c.Values)})
		}
		if err := a.table([]string{"COLUMN", "KIND", "VALUES"}, lines); err != nil {
			return err
		}
	}
	if len(i.Missing) > 0 {
		fmt.Fprintln(a.out)
		if err := a.table([]string{"MISSING"}, [][]string{{someOf(i.Missing)}}); err != nil {
			return err
		}
	}
	if len(i.Labels) == 0 {
		return nil
	}
	fmt.Fprintln(a.out)
	return a.table([]string{"LABELS"}, [][]string{{someOf(i.Labels)}})
}

// someOf are the first names of a list that may be long.
func someOf(names []string) string {
	const most = 10
	text := strings.Join(names[:min(len(names), most)], ", ")
	if more := len(names) - most; more > 0 {
		text += fmt.Sprintf(", … +%d", more)
	}
	return text
}

func (i inspection) showWeights(a *app) error {
	fmt.Fprintln(a.out)
	mark := map[bool]string{true: "+", false: "-"}
	var lines [][]string
	for _, w := range i.Weights {
		lines = append(lines, []string{w.Name, w.Shape, w.Node, w.Makes, mark[w.Trains], mark[w.Pair]})
	}
	return a.table([]string{"WEIGHT", "SHAPE", "NODE", "MAKES", "TRAINS", "PAIR"}, lines)
}
