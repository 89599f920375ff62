package onnx

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"tandem/fault"
	"tandem/graph"
	"tandem/tensor"
)

// drawGraph makes a graph of arbitrary nodes: their operators need not exist.
func drawGraph(t *rapid.T, names *int, outer []*graph.Value, depth int) *graph.Graph {
	g := &graph.Graph{Name: rapid.StringMatching(`[a-z]{1,4}`).Draw(t, "graph"), Opset: map[string]int{"": 21, "com.microsoft": 1}}
	if rapid.Bool().Draw(t, "meta") {
		g.Meta = rapid.MapOfN(rapid.StringN(0, 3, -1), rapid.StringN(0, 3, -1), 1, 3).Draw(t, "meta")
	}
	value := func(v graph.Value) *graph.Value {
		v.Name = fmt.Sprint("v", *names)
		*names++
		return &v
	}
	for range rapid.IntRange(0, 2).Draw(t, "inputs") {
		g.Inputs = append(g.Inputs, value(graph.Value{Type: drawType(t)}))
	}
	known := slices.Concat(outer, g.Inputs)
	for range rapid.IntRange(1, 5).Draw(t, "nodes") {
		n := &graph.Node{Op: graph.OpID{Domain: rapid.SampledFrom([]string{"", "com.microsoft"}).Draw(t, "domain"), Name: rapid.StringMatching(`[A-Z][a-z]{2}`).Draw(t, "op")}}
		n.Name = rapid.SampledFrom([]string{"", "name"}).Draw(t, "name")
		for range rapid.IntRange(0, 3).Draw(t, "reads") {
			switch k := rapid.IntRange(0, 3).Draw(t, "read"); {
			case k == 0:
				n.Inputs = append(n.Inputs, nil)
			case k == 1 || len(known) == 0:
				c := drawTensor(t)
				v := value(graph.Value{Type: graph.Type{DType: c.DType(), Shape: graph.Dims(c.Shape()...)}, Const: graph.ConstantOf(c)})
				n.Inputs, known = append(n.Inputs, v), append(known, v)
			default:
				n.Inputs = append(n.Inputs, rapid.SampledFrom(known).Draw(t, "value"))
			}
		}
		n.Attrs = drawAttrs(t, names, known, depth)
		for range rapid.IntRange(0, 2).Draw(t, "outputs") {
			v := value(graph.Value{Type: drawType(t), Def: n})
			n.Outputs, known = append(n.Outputs, v), append(known, v)
		}
		n.Outputs = append(n.Outputs, nil)
		g.Nodes = append(g.Nodes, n)
	}
	for _, v := range known[len(outer):] {
		if v.Def != nil && rapid.Bool().Draw(t, "is output") {
			g.Outputs = append(g.Outputs, v)
		}
	}
	return g
}

func drawType(t *rapid.T) graph.Type {
	typ := graph.Type{DType: drawDType(t), Shape: graph.Shape{}}
	for range rapid.IntRange(0, 3).Draw(t, "rank") {
		d := graph.Const(rapid.IntRange(0, 300).Draw(t, "dim"))
		if rapid.Bool().Draw(t, "symbolic") {
			d = graph.Sym(rapid.SampledFrom([]string{"batch", "len", "x.0"}).Draw(t, "symbol"))
		}
		typ.Shape = append(typ.Shape, d)
	}
	return typ
}

func drawDType(t *rapid.T) tensor.DType {
	return tensor.DType(rapid.IntRange(int(tensor.Float32), int(tensor.Int2)).Draw(t, "dtype"))
}

func drawTensor(t *rapid.T) *tensor.Tensor {
	x := tensor.New(drawDType(t), rapid.SliceOfN(rapid.IntRange(0, 9), 0, 4).Draw(t, "shape")...)
	if s := x.Strings(); len(s) > 0 {
		s[0], s[len(s)-1] = "first\xff", ""
	}
	fill := rapid.Byte().Draw(t, "fill")
	for i := range x.Bytes() {
		x.Bytes()[i] = byte(i) + fill
		if x.DType() == tensor.Bool {
			x.Bytes()[i] &= 1
		}
	}
	return x
}

func drawAttrs(t *rapid.T, names *int, known []*graph.Value, depth int) graph.Attrs {
	var attrs graph.Attrs
	for range rapid.IntRange(0, 2).Draw(t, "attributes") {
		var v any
		switch rapid.IntRange(0, 7).Draw(t, "kind") {
		case 0:
			v = rapid.Float32().Draw(t, "f")
		case 1:
			v = rapid.Int64().Draw(t, "i")
		case 2:
			v = rapid.String().Draw(t, "s")
		case 3:
			v = drawTensor(t)
		case 4:
			v = rapid.SliceOf(rapid.Float32()).Draw(t, "floats")
		case 5:
			v = rapid.SliceOf(rapid.Int64()).Draw(t, "ints")
		case 6:
			v = rapid.SliceOf(rapid.String()).Draw(t, "strings")
		case 7:
			if depth == 2 {
				continue
			}
			v = drawGraph(t, names, known, depth+1)
		}
		if attrs == nil {
			attrs = graph.Attrs{}
		}
		attrs[rapid.StringMatching(`[a-z]{1,3}`).Draw(t, "attribute")] = v
	}
	return attrs
}

// describe is all that a graph means, in text; values are told apart by name.
func describe(g *graph.Graph, top bool) string {
	var s strings.Builder
	value := func(v *graph.Value, typed bool) {
		switch {
		case v == nil:
			s.WriteString(" -")
		case v.Const != nil:
			fmt.Fprintf(&s, " %s=%v%v:%x%q", v.Name, v.Const.DType, v.Const.Shape, v.Const.Data, v.Const.Strings)
		case typed:
			fmt.Fprintf(&s, " %s:%v", v.Name, v.Type)
		default:
			fmt.Fprintf(&s, " %s", v.Name)
		}
	}
	fmt.Fprintf(&s, "graph %q in", g.Name)
	if top {
		fmt.Fprintf(&s, " %q %v", g.Meta, g.Opset[""])
	}
	for _, v := range g.Inputs {
		value(v, true)
	}
	for _, n := range g.Nodes {
		fmt.Fprintf(&s, "\n%v %q", n.Op, n.Name)
		for _, v := range n.Inputs {
			value(v, false)
		}
		s.WriteString(" ->")
		for _, v := range n.Outputs {
			value(v, false)
		}
		for _, name := range sortedKeys(n.Attrs) {
			switch a := n.Attrs[name].(type) {
			case *graph.Graph:
				fmt.Fprintf(&s, " %s={%s}", name, describe(a, false))
			case *tensor.Tensor:
				fmt.Fprintf(&s, " %s=%v:%x%q", name, a, a.Bytes(), a.Strings())
			default:
				fmt.Fprintf(&s, " %s=%T:%v", name, a, a)
			}
		}
	}
	s.WriteString("\nout")
	for _, v := range g.Outputs {
		value(v, true)
	}
	return s.String()
}

func sortedKeys(a graph.Attrs) []string {
	var keys []string
	for k := range a {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func TestRoundTrip(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		g := drawGraph(t, new(int), nil, 0)
		var one, two bytes.Buffer
		if err := Write(&one, g, SaveOptions{Producer: "test"}); err != nil {
			t.Fatal(err)
		}
		h, err := Read(one.Bytes(), LoadOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if a, b := describe(g, true), describe(h, true); a != b {
			t.Fatalf("written\n%s\nread\n%s", a, b)
		}
		if err := Write(&two, h, SaveOptions{Producer: "test"}); err != nil || !bytes.Equal(one.Bytes(), two.Bytes()) {
			t.Fatalf("written again, the bytes differ (%v)", err)
		}
		path := filepath.Join(dir, "m.onnx")
		if err := Save(path, g, SaveOptions{ExternalData: "w.bin"}); err != nil {
			t.Fatal(err)
		}
		k, c, err := Load(path, LoadOptions{})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if a, b := describe(g, true), describe(k, true); a != b {
			t.Fatalf("saved\n%s\nloaded\n%s", a, b)
		}
	})
}

func constant32(name string, n int) *graph.Value {
	c := tensor.New(tensor.Float32, n)
	for i := range c.F32() {
		c.F32()[i] = float32(i)
	}
	return &graph.Value{Name: name, Type: graph.Type{DType: tensor.Float32, Shape: graph.Dims(n)}, Const: graph.ConstantOf(c)}
}

// sumOf is a graph whose one node reads the given values.
func sumOf(in ...*graph.Value) *graph.Graph {
	n := &graph.Node{Op: graph.OpID{Name: "Sum"}, Inputs: in}
	y := &graph.Value{Name: "y", Type: graph.Type{DType: tensor.Float32, Shape: graph.Dims(1)}, Def: n}
	n.Outputs = []*graph.Value{y}
	return &graph.Graph{Opset: graph.Opsets(), Nodes: []*graph.Node{n}, Outputs: []*graph.Value{y}}
}

func TestExternalDataIsAligned(t *testing.T) {
	dir := t.TempDir()
	small, odd, big := constant32("small", 3), constant32("odd", 1001), constant32("big", 1<<18)
	must(t, Save(filepath.Join(dir, "m.onnx"), sumOf(odd, small, big, odd), SaveOptions{ExternalData: "w.bin"}))
	data, err := os.ReadFile(filepath.Join(dir, "w.bin"))
	must(t, err)
	if len(data) != 4096+1<<20 { // odd takes 4004 bytes and is there once; small is inside
		t.Errorf("%d bytes outside", len(data))
	}
	g, c, err := Load(filepath.Join(dir, "m.onnx"), LoadOptions{})
	must(t, err)
	defer c.Close()
	for i, want := range []*graph.Value{odd, small, big, odd} {
		if !reflect.DeepEqual(g.Nodes[0].Inputs[i].Const, want.Const) {
			t.Errorf("input %d differs", i)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".*")); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

func TestSaveRefuses(t *testing.T) {
	x := &graph.Value{Name: "x", Type: graph.Type{DType: tensor.Float32}}
	with := func(change func(*graph.Graph)) *graph.Graph {
		g := sumOf(constant32("w", 2))
		change(g)
		return g
	}
	for _, tc := range []struct {
		g    *graph.Graph
		want string
	}{
		{with(func(g *graph.Graph) { g.Nodes[0].Op.Domain = graph.Private; g.Nodes[0].Name = "packed" }), "node tandem.Sum (packed)"},
		{with(func(g *graph.Graph) { g.Nodes[0].Inputs[0].Const.Encoding = graph.PanelB }), `constant "w": it is in encoding "panel-b"`},
		{with(func(g *graph.Graph) { g.Nodes[0].Inputs[0].Const.Data = make([]byte, 9) }), `constant "w"`},
		{with(func(g *graph.Graph) { g.Nodes[0].Inputs = []*graph.Value{x} }), `node Sum (of y): it reads "x"`},
		{with(func(g *graph.Graph) { g.Nodes = append(g.Nodes, g.Nodes[0]) }), `defines "y", which is defined already`},
		{with(func(g *graph.Graph) { g.Nodes = nil }), `output "y" is not computed`},
		{with(func(g *graph.Graph) { g.Outputs[0].Type.DType = tensor.Undefined }), `type of "y" is not known`},
		{with(func(g *graph.Graph) { g.Opset = map[string]int{} }), `domain ""`},
		{with(func(g *graph.Graph) { g.Nodes[0].Attrs = graph.Attrs{"a": 1} }), `attribute "a": a value of Go type int`},
		{with(func(g *graph.Graph) { g.State = []graph.State{{Current: x}} }), "the graph has state (x)"},
	} {
		if err := Write(&bytes.Buffer{}, tc.g, SaveOptions{}); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%v, want %q", err, tc.want)
		}
	}
	for _, name := range []string{"../w", "a/b", "m.onnx", ".."} {
		if err := Save(filepath.Join(t.TempDir(), "m.onnx"), sumOf(), SaveOptions{ExternalData: name}); fault.KindOf(err) != fault.Invalid {
			t.Errorf("external data in %q: %v", name, err)
		}
	}
}

func TestTwoGibibytesInside(t *testing.T) {
	c := &graph.Constant{DType: tensor.Uint8, Shape: tensor.Shape{1 << 21}, Data: make([]byte, 1<<21)}
	var in []*graph.Value
	for i := range 1 << 10 {
		in = append(in, &graph.Value{Name: fmt.Sprint("w", i), Const: c})
	}
	if err := Write(&bytes.Buffer{}, sumOf(in...), SaveOptions{}); fault.KindOf(err) != fault.TooLarge || fault.RemedyOf(err) == "" {
		t.Errorf("2 GiB inside: %v", err)
	}
}

func TestSaveNamesAndCopies(t *testing.T) {
	g := sumOf(constant32("w", 2), constant32("w", 3), constant32("y", 4))
	g.Outputs = append(g.Outputs, g.Outputs[0])
	g.Inputs = []*graph.Value{{Name: "scalar", Type: graph.Type{DType: tensor.Float32}}} // a nil shape, which must be written
	var b bytes.Buffer
	must(t, Write(&b, g, SaveOptions{}))
	h, err := Read(b.Bytes(), LoadOptions{})
	must(t, err)
	var names []string
	for _, v := range slices.Concat(h.Nodes[0].Inputs, h.Outputs) {
		names = append(names, v.Name)
	}
	if want := []string{"w", "w_1", "y_1", "y", "y_2"}; !slices.Equal(names, want) {
		t.Errorf("names %q, want %q", names, want)
	}
	if len(h.Nodes) != 2 || h.Nodes[1].Op.Name != "Identity" || h.Opset["com.microsoft"] != 0 {
		t.Errorf("nodes %v in %v", h.Nodes, h.Opset)
	}
}

func TestFailedSaveKeepsTheOldFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "m.onnx")
	must(t, Save(path, sumOf(constant32("w", 2)), SaveOptions{}))
	before, err := os.ReadFile(path)
	must(t, err)
	_, c, err := Load(path, LoadOptions{})
	must(t, err)
	must(t, Save(path, sumOf(constant32("w", 3)), SaveOptions{})) // the mapped file is replaced, not rewritten
	must(t, c.Close())
	if after, err := os.ReadFile(path); err != nil || bytes.Equal(before, after) {
		t.Errorf("not replaced (%v)", err)
	}
	if err := Save(filepath.Join(dir, "none", "m.onnx"), sumOf(), SaveOptions{}); fault.KindOf(err) != fault.NotFound {
		t.Errorf("no folder: %v", err)
	}
}

func FuzzRead(f *testing.F) {
	files, err := filepath.Glob("testdata/*.onnx")
	if err != nil || len(files) == 0 {
		f.Fatal(files, err)
	}
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	outside := make([]byte, 1<<10)
	f.Fuzz(func(t *testing.T, data []byte) {
		g, err := Read(data, LoadOptions{External: func(string) ([]byte, error) { return outside, nil }})
		if err != nil {
			if k := fault.KindOf(err); k != fault.Invalid && k != fault.Unsupported && k != fault.TooLarge {
				t.Fatalf("%v: %v", k, err)
			}
			return
		}
		var one, two bytes.Buffer
		if err := Write(&one, g, SaveOptions{}); err != nil {
			return // types of outputs may be unknown
		}
		h, err := Read(one.Bytes(), LoadOptions{})
		if err != nil {
			t.Fatalf("what was written is refused: %v", err)
		}
		if err := Write(&two, h, SaveOptions{}); err != nil || !bytes.Equal(one.Bytes(), two.Bytes()) {
			t.Fatalf("written again, the bytes differ: %v", err)
		}
	})
}

// TestSaveKeepsWhatIsNoFile: a folder is refused, and a link goes on pointing to what it
// points to. (A device that is replaced is gone.)
func TestSaveKeepsWhatIsNoFile(t *testing.T) {
	dir := t.TempDir()
	if err := Save(dir, sumOf(constant32("w", 2)), SaveOptions{}); fault.KindOf(err) != fault.Invalid || fault.RemedyOf(err) == "" {
		t.Errorf("over a folder: %v", err)
	}
	file, link := filepath.Join(dir, "m.onnx"), filepath.Join(dir, "link")
	must(t, os.WriteFile(file, nil, 0o644))
	must(t, os.Symlink(file, link))
	must(t, Save(link, sumOf(constant32("w", 2)), SaveOptions{}))
	if to, err := os.Readlink(link); err != nil || to != file {
		t.Errorf("the link points to %q, %v", to, err)
	}
	if info, err := os.Stat(file); err != nil || info.Size() == 0 {
		t.Errorf("the file is %v, %v", info, err)
	}
}
