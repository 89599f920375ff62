package onnx

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"google.golang.org/protobuf/encoding/protowire"

	"tandem/fault"
	"tandem/graph"
	"tandem/tensor"
)

func load(t *testing.T, name string) *graph.Graph {
	t.Helper()
	g, c, err := Load(filepath.Join("testdata", name), LoadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return g
}

func TestEveryFormOfStorage(t *testing.T) {
	g := load(t, "forms.onnx")
	if len(g.Outputs) != 51 { // 26 types; two forms of each but strings
		t.Errorf("%d tensors", len(g.Outputs))
	}
	raw := map[tensor.DType][]byte{}
	for _, v := range g.Outputs {
		c := v.Const
		if c == nil || !c.Shape.Equal(tensor.Shape{2, 2}) {
			t.Fatalf("%s: %v", v.Name, c)
		}
		if c.DType == tensor.String {
			if !slices.Equal(c.Strings, []string{"1", "", "1", "\xff"}) {
				t.Errorf("strings: %q", c.Strings)
			}
			continue
		}
		if other := raw[c.DType]; other != nil && !bytes.Equal(other, c.Data) {
			t.Errorf("%v: %x in one form, %x in the other", c.DType, other, c.Data)
		}
		raw[c.DType] = c.Data
	}
	for d, want := range map[tensor.DType]string{ // 1, 0, 1, 1
		tensor.Float32: "0000803f000000000000803f0000803f", tensor.Bool: "01000101", tensor.Int4: "0111", tensor.Uint2: "51",
		tensor.Float16: "003c0000003c003c", tensor.BFloat16: "803f0000803f803f", tensor.Uint32: "01000000000000000100000001000000",
		tensor.Float8E4M3FN: "38003838", tensor.Int16: "0100000001000100", tensor.Complex64: "0000803f0000000000000000000000000000803f000000000000803f00000000",
	} {
		if got := fmt.Sprintf("%x", raw[d]); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
}

func TestInnerGraphsReadOuterValues(t *testing.T) {
	g := load(t, "if.onnx")
	if len(g.Nodes) != 1 || g.Nodes[0].Op.Name != "If" || g.Nodes[0].Name != "choose" {
		t.Fatalf("nodes %v", g.Nodes)
	}
	n, x := g.Nodes[0], g.Inputs[0]
	if c := n.Inputs[0].Const; c == nil || c.Data[0] != 1 {
		t.Error("the Constant node is no constant")
	}
	then, _ := n.Attrs["then_branch"].(*graph.Graph)
	other, _ := n.Attrs["else_branch"].(*graph.Graph)
	if then == nil || other == nil {
		t.Fatal("no branches")
	}
	if then.Nodes[0].Inputs[0] != x || other.Nodes[0].Inputs[0] != x {
		t.Error("the outer value is another one inside")
	}
	if c := other.Nodes[0].Inputs[1].Const; c == nil || c.Shape.Len() != 1 {
		t.Error("no inner constant")
	}
	s := x.Type.Shape
	if !s[0].Equal(graph.Sym("batch")) || !s[2].Is(3) {
		t.Errorf("shape %v", s)
	}
	if _, ok := s[1].Value(); ok || s[1].Equal(s[0]) {
		t.Errorf("the unknown dimension is %v", s[1])
	}
}

func TestAttributes(t *testing.T) {
	g := load(t, "attrs.onnx")
	n := g.Nodes[0]
	if n.Op != (graph.OpID{Domain: "example", Name: "Many"}) || g.Opset["example"] != 3 || g.Opset[""] != 21 {
		t.Errorf("%v in %v", n.Op, g.Opset)
	}
	if n.Inputs[1] != nil || n.Outputs[0] != nil || n.Inputs[0] != n.Inputs[2] || n.Outputs[1].Def != n {
		t.Errorf("inputs %v outputs %v", n.Inputs, n.Outputs)
	}
	a := n.Attrs
	if a.Int("i", 0) != -7 || a.Float("f", 0) != 0.5 || a.String("s", "") != "text" || !slices.Equal(a.Ints("ints"), []int{1, -2}) {
		t.Errorf("attributes %v", a)
	}
	if f, _ := a["floats"].([]float32); !slices.Equal(f, []float32{0.5, -1.5}) {
		t.Errorf("floats %v", f)
	}
	if s, _ := a["strings"].([]string); !slices.Equal(s, []string{"a", "b"}) {
		t.Errorf("strings %v", s)
	}
	if v, _ := a["t"].(*tensor.Tensor); v == nil || !slices.Equal(v.I64(), []int64{5, 6}) {
		t.Errorf("tensor %v", v)
	}
}

func TestFunctionsAreWrittenOut(t *testing.T) {
	g := load(t, "function.onnx")
	var ops []string
	for _, n := range g.Nodes {
		ops = append(ops, n.String())
	}
	want := []string{"Mul (of first/mid)", "Mul (of mid)", "Identity (of copy)", "Add (of y)"}
	if !slices.Equal(ops, want) {
		t.Fatalf("nodes %q, want %q", ops, want)
	}
	for i, by := range []float32{2, 3} { // passed, default
		k, err := g.Nodes[i].Inputs[1].Const.Tensor()
		if err != nil || k.F32()[0] != by {
			t.Errorf("call %d scales by %v, want %v", i, k, by)
		}
	}
	if g.Nodes[1].Inputs[0] != g.Nodes[0].Outputs[0] || g.Nodes[0].Inputs[0] != g.Inputs[0] {
		t.Error("the calls are not connected")
	}
}

func TestExternalDataIsMappedNotCopied(t *testing.T) {
	g := load(t, "external.onnx")
	w, err := g.Output("w").Const.Tensor()
	if err != nil || !slices.Equal(w.F32(), []float32{0, 1, 2, 3, 4, 5}) {
		t.Fatalf("w is %v, %v", w, err)
	}
	b := g.Output("b").Const
	if d := uintptr(unsafe.Pointer(&b.Data[0])) - uintptr(unsafe.Pointer(&w.Bytes()[0])); d != 24 {
		t.Errorf("the tensors lie %d bytes apart, in the file 24", d)
	}
}

// model is a ModelProto around a graph of the given fields.
func model(graphFields ...func(*message)) []byte {
	var g, m message
	for _, f := range graphFields {
		f(&g)
	}
	m.int(modelIR, 10)
	m.sub(modelGraph, &g)
	var o message
	o.int(opsetVersion, 21)
	m.sub(modelOpset, &o)
	var b bytes.Buffer
	if err := m.writeTo(&b); err != nil {
		panic(err)
	}
	return b.Bytes()
}

func sub(num int32, fields ...func(*message)) func(*message) {
	return func(m *message) {
		var inner message
		for _, f := range fields {
			f(&inner)
		}
		m.sub(protowire.Number(num), &inner)
	}
}

func str(num int32, s string) func(*message) {
	return func(m *message) { m.text(protowire.Number(num), s) }
}
func num(n int32, v int64) func(*message) { return func(m *message) { m.int(protowire.Number(n), v) } }

func node(op string, out string, in ...string) func(*message) {
	fields := []func(*message){str(nodeOp, op), str(nodeOutput, out)}
	for _, name := range in {
		fields = append(fields, str(nodeInput, name))
	}
	return sub(graphNode, fields...)
}

func external(entries ...string) func(*message) {
	fields := []func(*message){str(tensorName, "w"), num(tensorDims, 2), num(tensorType, 1), num(tensorLocation, 1)}
	for i := 0; i < len(entries); i += 2 {
		fields = append(fields, sub(tensorExternal, str(entryKey, entries[i]), str(entryValue, entries[i+1])))
	}
	return sub(graphInitializer, fields...)
}

func input(name string, dims ...func(*message)) func(*message) {
	return sub(graphInput, str(infoName, name), sub(infoType, sub(typeTensor, num(typeTensorElem, 1), sub(typeTensorShape, dims...))))
}

func nested(depth int) func(*message) {
	inner := []func(*message){}
	for range depth {
		inner = []func(*message){sub(graphNode, str(nodeOp, "If"), sub(nodeAttr, str(attrName, "body"), num(attrType, kindGraph), sub(attrG, inner...)))}
	}
	return func(m *message) {
		for _, f := range inner {
			f(m)
		}
	}
}

func TestBadInputIsRefused(t *testing.T) {
	tensorOf := func(fields ...func(*message)) func(*message) {
		return sub(graphInitializer, append([]func(*message){str(tensorName, "w")}, fields...)...)
	}
	f32, dims := num(tensorType, 1), func(d int64) func(*message) { return num(tensorDims, d) }
	for _, tc := range []struct {
		name string
		data []byte
		kind fault.Kind
		want string
	}{
		{"nothing", nil, fault.Invalid, "not an ONNX model"},
		{"text", []byte("hello, world"), fault.Invalid, "field"},
		{"cut short", model(node("Neg", "y", "x"))[:12], fault.Invalid, "cannot be read"},
		{"two graphs", append(model(), model()...), fault.Invalid, "2 graphs"},
		{"undefined", model(node("Neg", "y", "x")), fault.Invalid, `node Neg (of y) reads "x", which nothing defines`},
		{"cycle", model(node("Neg", "y", "x"), node("Abs", "x", "y")), fault.Invalid, `node Neg (of y) reads "x" before node Abs (of x) defines it`},
		{"defined twice", model(tensorOf(f32, dims(0)), node("Neg", "w", "w")), fault.Invalid, `"w" is defined twice`},
		{"no operator", model(node("", "y")), fault.Invalid, "no operator"},
		{"no opset", model(sub(graphNode, str(nodeOp, "Foo"), str(nodeDomain, "other"))), fault.Invalid, `domain "other"`},
		{"private", model(sub(graphNode, str(nodeOp, "Foo"), str(nodeDomain, "tandem"))), fault.Unsupported, `domain "tandem"`},
		{"missing output", model(sub(graphOutput, str(infoName, "y"))), fault.Invalid, `output "y" is not computed`},
		{"opaque input", model(sub(graphInput, str(infoName, "s"), sub(infoType, sub(typeOpaque)))), fault.Unsupported, `input "s" is no tensor`},
		{"input of no type", model(sub(graphInput, str(infoName, "s"), sub(infoType, sub(typeTensor)))), fault.Unsupported, `input "s" has no element type`},
		{"negative dimension of input", model(input("x", sub(shapeDim, num(dimValue, -2)))), fault.Invalid, "dimension 0 is -2"},
		{"length", model(tensorOf(f32, dims(2), dims(3), str(tensorRaw, "12345678"))), fault.Invalid, `tensor "w": float32 tensor of shape 2x3 takes 24 bytes, not 8`},
		{"numbers", model(tensorOf(num(tensorType, 7), dims(3), str(tensorInt64s, "\x01\x02"))), fault.Invalid, "take 3 numbers, the file has 2"},
		{"range", model(tensorOf(num(tensorType, 2), dims(1), num(tensorInt32s, 256))), fault.Invalid, "number 0 is 256, which is no uint8"},
		{"negative dimension", model(tensorOf(f32, dims(-1), dims(-1), str(tensorRaw, "1234"))), fault.Invalid, "dimension 0 is -1"},
		{"huge", model(tensorOf(f32, dims(1<<40), dims(1<<40), dims(1<<40))), fault.Invalid, "elements"},
		{"no type", model(tensorOf(dims(0))), fault.Invalid, "no element type"},
		{"strange type", model(tensorOf(num(tensorType, 99))), fault.Unsupported, "element type 99"},
		{"two forms", model(tensorOf(f32, dims(1), str(tensorRaw, "1234"), str(tensorFloats, "1234"))), fault.Invalid, "not stored as they should be"},
		{"wrong form", model(tensorOf(f32, dims(1), num(tensorInt64s, 1))), fault.Invalid, "not stored as they should be"},
		{"part of an element", model(tensorOf(f32, dims(1), str(tensorFloats, "12345"))), fault.Invalid, "no whole elements"},
		{"strings", model(tensorOf(num(tensorType, 8), dims(2), str(tensorStrings, "a"))), fault.Invalid, "takes 2 strings, the file has 1"},
		{"nested", model(nested(100)), fault.Unsupported, "nested more than 64 deep"},
		{"no file", model(external("location", "w.bin")), fault.Unsupported, "did not come with the model"},
		{"absolute", model(external("location", "/etc/passwd")), fault.Invalid, "not inside the model's folder"},
		{"parent", model(external("location", "a/../../w.bin")), fault.Invalid, "not inside the model's folder"},
		{"sparse", model(sub(graphSparseInitializer)), fault.Unsupported, "sparse"},
		{"sparse and huge", model(sparse([]int64{1 << 16, 1 << 14}, 1, 0)), fault.TooLarge, "repeats its data"},
		{"sparse index", model(sparse([]int64{2, 2}, 1, 4)), fault.Invalid, "index 4 is outside a dimension of 4"},
		{"sparse indices", model(sparse([]int64{2, 2}, 1, 0, 1, 1)), fault.Invalid, "indices have shape 3 for 1 values"},
		{"reference", model(sub(graphNode, str(nodeOp, "F"), sub(nodeAttr, str(attrName, "a"), str(attrRef, "b")))), fault.Invalid, "refers to attribute"},
	} {
		_, err := Read(tc.data, LoadOptions{Name: "m.onnx"})
		switch {
		case err == nil:
			t.Errorf("%s: accepted", tc.name)
		case fault.KindOf(err) != tc.kind || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), "m.onnx"):
			t.Errorf("%s: %v: %v; want %v: %s", tc.name, fault.KindOf(err), err, tc.kind, tc.want)
		case fault.RemedyOf(err) == "" && tc.kind == fault.Invalid:
			t.Errorf("%s: no remedy: %v", tc.name, err)
		}
	}
}

func TestExternalDataStaysInside(t *testing.T) {
	top := t.TempDir()
	dir := filepath.Join(top, "model")
	must(t, os.Mkdir(dir, 0o755))
	must(t, os.WriteFile(filepath.Join(top, "secret"), make([]byte, 8), 0o644))
	must(t, os.WriteFile(filepath.Join(dir, "w.bin"), make([]byte, 12), 0o644))
	must(t, os.Symlink("../secret", filepath.Join(dir, "link")))
	must(t, os.Symlink("w.bin", filepath.Join(dir, "inside")))
	path := filepath.Join(dir, "m.onnx")
	for _, tc := range []struct {
		entries []string
		want    string // "": loads
	}{
		{[]string{"location", "w.bin", "length", "8"}, ""},
		{[]string{"location", "inside", "offset", "4"}, ""},
		{[]string{"location", "link", "length", "8"}, "escapes"},
		{[]string{"location", "."}, "not a regular file"},
		{[]string{"location", "none"}, "no such file"},
		{[]string{"location", "w.bin"}, `file "w.bin" has 12 for them`},
		{[]string{"location", "w.bin", "offset", "8", "length", "8"}, "beyond its end, at 12"},
		{[]string{"location", "w.bin", "offset", "9223372036854775807", "length", "8"}, "beyond its end"},
		{[]string{"location", "w.bin", "offset", "-1"}, "not a number of bytes"},
	} {
		must(t, os.WriteFile(path, model(external(tc.entries...)), 0o644))
		_, c, err := Load(path, LoadOptions{})
		switch {
		case err == nil:
			must(t, c.Close())
			if tc.want != "" {
				t.Errorf("%q: loaded", tc.entries)
			}
		case tc.want == "" || !strings.Contains(err.Error(), tc.want) || fault.RemedyOf(err) == "":
			t.Errorf("%q: %v, want %q", tc.entries, err, tc.want)
		}
	}
}

func TestRepeatedDataIsBounded(t *testing.T) {
	// One byte off: each tensor needs a copy.
	var all []func(*message)
	for i := range 100 {
		all = append(all, sub(graphInitializer, str(tensorName, fmt.Sprint("w", i)), num(tensorDims, 1<<18), num(tensorType, 1), num(tensorLocation, 1),
			sub(tensorExternal, str(entryKey, "location"), str(entryValue, "w")), sub(tensorExternal, str(entryKey, "offset"), str(entryValue, "1"))))
	}
	data := tensor.AlignedBytes(1<<20 + 1)
	_, err := Read(model(all...), LoadOptions{External: func(string) ([]byte, error) { return data, nil }})
	if fault.KindOf(err) != fault.TooLarge {
		t.Errorf("100 copies: %v", err)
	}
	_, err = Read(model(all[:10]...), LoadOptions{External: func(string) ([]byte, error) { return data, nil }})
	must(t, err)
}

// TestFunctionsAreBounded: 20 functions, each calling the one before it ten times.
func TestFunctionsAreBounded(t *testing.T) {
	bomb := model(sub(graphNode, str(nodeOp, "F19"), str(nodeDomain, "f")))
	var m message
	for i := range 20 {
		fields := []func(*message){str(functionName, fmt.Sprint("F", i)), str(functionDomain, "f")}
		for range 10 {
			call := sub(functionNode, str(nodeOp, fmt.Sprint("F", i-1)), str(nodeDomain, "f"))
			if i == 0 {
				call = sub(functionNode, str(nodeOp, "Nothing"))
			}
			fields = append(fields, call)
		}
		sub(modelFunction, fields...)(&m)
	}
	if _, err := Read(append(bomb, m.last...), LoadOptions{}); fault.KindOf(err) != fault.TooLarge {
		t.Errorf("bomb: %v", err)
	}
	var self message
	sub(modelFunction, str(functionName, "F19"), str(functionDomain, "f"), sub(functionNode, str(nodeOp, "F19"), str(nodeDomain, "f")))(&self)
	if _, err := Read(append(bomb, self.last...), LoadOptions{}); err == nil || !strings.Contains(err.Error(), "calls itself") {
		t.Errorf("recursion: %v", err)
	}
}

func TestUnknownDimensionsAreDistinct(t *testing.T) {
	g, err := Read(model(
		input("x", sub(shapeDim), sub(shapeDim, num(dimValue, -1)), sub(shapeDim, str(dimParam, "n"))),
		input("y", sub(shapeDim, str(dimParam, "x.0")), sub(shapeDim, str(dimParam, "n")))), LoadOptions{})
	must(t, err)
	x, y := g.Inputs[0].Type.Shape, g.Inputs[1].Type.Shape
	if x[0].Equal(x[1]) || x[0].Equal(y[0]) || !x[2].Equal(y[1]) {
		t.Errorf("shapes %v and %v", x, y)
	}
}

func TestBoolsAreNormalized(t *testing.T) {
	g, err := Read(model(sub(graphInitializer, str(tensorName, "b"), num(tensorDims, 2), num(tensorType, 9), str(tensorRaw, "\x00\x05")),
		sub(graphOutput, str(infoName, "b"))), LoadOptions{})
	must(t, err)
	if !bytes.Equal(g.Outputs[0].Const.Data, []byte{0, 1}) {
		t.Errorf("bytes %v", g.Outputs[0].Const.Data)
	}
	g, err = Read(model(sub(graphInitializer, str(tensorName, "b"), num(tensorDims, 2), num(tensorType, 9), num(tensorInt32s, 0), num(tensorInt32s, 5)),
		sub(graphOutput, str(infoName, "b"))), LoadOptions{})
	must(t, err)
	if !bytes.Equal(g.Outputs[0].Const.Data, []byte{0, 1}) {
		t.Errorf("numbers %v", g.Outputs[0].Const.Data)
	}
}

func TestInitializersThatAreInputsAreConstants(t *testing.T) {
	w := sub(graphInitializer, str(tensorName, "w"), num(tensorType, 1), str(tensorRaw, "1234"))
	g, err := Read(model(input("x"), input("w"), w, node("Add", "y", "x", "w")), LoadOptions{})
	must(t, err)
	if len(g.Inputs) != 1 || g.Inputs[0].Name != "x" || g.Nodes[0].Inputs[1].Const == nil {
		t.Errorf("inputs %v of %v", g.Inputs, g.Nodes)
	}
}

// TestDataInSeveralFields: protobuf lets a repeated field come in pieces. Joining
// them must not write into the file.
func TestDataInSeveralFields(t *testing.T) {
	file := model(sub(graphInitializer, num(tensorDims, 3), num(tensorType, 1), str(tensorFloats, "\x00\x00\x80\x3f"),
		str(tensorFloats, "\x00\x00\x00\x40\x00\x00\x80\x40"), str(tensorName, "w")), sub(graphOutput, str(infoName, "w")))
	before := bytes.Clone(file)
	g, err := Read(file, LoadOptions{})
	must(t, err)
	w, err := g.Outputs[0].Const.Tensor()
	if err != nil || !slices.Equal(w.F32(), []float32{1, 2, 4}) || !bytes.Equal(file, before) {
		t.Errorf("elements %v, %v; the file is as it was: %v", w, err, bytes.Equal(file, before))
	}
}

// TestFunctionsThatPassOn: one output is an input, and two are the same value.
func TestFunctionsThatPassOn(t *testing.T) {
	data := model(input("x"), sub(graphNode, str(nodeOp, "F"), str(nodeDomain, "f"), str(nodeInput, "x"),
		str(nodeOutput, "p"), str(nodeOutput, "q"), str(nodeOutput, "r")),
		sub(graphOutput, str(infoName, "p")), sub(graphOutput, str(infoName, "q")), sub(graphOutput, str(infoName, "r")))
	var m message
	sub(modelFunction, str(functionName, "F"), str(functionDomain, "f"), str(functionInput, "a"),
		str(functionOutput, "a"), str(functionOutput, "b"), str(functionOutput, "b"),
		sub(functionNode, str(nodeOp, "Neg"), str(nodeInput, "a"), str(nodeOutput, "b")))(&m)
	g, err := Read(append(data, m.last...), LoadOptions{})
	must(t, err)
	var got []string
	for _, v := range slices.Concat(g.Inputs, g.Outputs) {
		got = append(got, fmt.Sprint(v.Name, v.Def))
	}
	if want := []string{"x<nil>", "pIdentity (of p)", "qNeg (of q)", "rIdentity (of r)"}; !slices.Equal(got, want) {
		t.Errorf("values %q, want %q", got, want)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
