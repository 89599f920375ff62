package onnx

import (
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"tandem/fault"
	"tandem/graph"
	"tandem/tensor"
)

// weighty is a graph with a constant of n float32 whose bytes look like anything.
func weighty(n int) *graph.Graph {
	w := tensor.New(tensor.Float32, n)
	for i := range w.Bytes() {
		w.Bytes()[i] = byte(i*i>>3 ^ i)
	}
	x := &graph.Value{Name: "x", Type: graph.Type{DType: tensor.Float32, Shape: graph.Dims(n)}}
	add := &graph.Node{Op: graph.OpID{Name: "Add"}, Inputs: []*graph.Value{x, constantValue("w", w)}}
	y := &graph.Value{Name: "y", Type: x.Type, Def: add}
	add.Outputs = []*graph.Value{y}
	return &graph.Graph{Name: "weighty", Opset: graph.Opsets(), Inputs: []*graph.Value{x}, Nodes: []*graph.Node{add}, Outputs: []*graph.Value{y}}
}

// TestCutFiles: a file cut anywhere is refused with an error that names it, and costs no
// more memory than it has bytes.
func TestCutFiles(t *testing.T) {
	var b bytes.Buffer
	must(t, Write(&b, weighty(1<<16), SaveOptions{}))
	data := b.Bytes()
	path := filepath.Join(t.TempDir(), "cut.onnx")
	cuts := []int{}
	for at := 0; at < len(data); at += 1000 {
		cuts = append(cuts, at)
	}
	for at := max(len(data)-200, 0); at < len(data); at++ { // where the last messages begin and end
		cuts = append(cuts, at)
	}
	for _, at := range cuts {
		must(t, os.WriteFile(path, data[:at], 0o644))
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, closer, err := Load(path, LoadOptions{})
		runtime.ReadMemStats(&after)
		if err == nil {
			must(t, closer.Close())
			t.Errorf("a file of %d bytes is read when cut at %d", len(data), at)
			continue
		}
		if k := fault.KindOf(err); k != fault.Invalid || !bytes.Contains([]byte(err.Error()), []byte("cut.onnx")) {
			t.Errorf("cut at %d: %v: %v", at, k, err)
		}
		if used := after.TotalAlloc - before.TotalAlloc; used > uint64(len(data))+1<<20 {
			t.Errorf("cut at %d: %d bytes of memory", at, used)
		}
	}
}

// TestCutExternalData: the weights beside the model may be cut as well.
func TestCutExternalData(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "m.onnx")
	must(t, Save(path, weighty(1<<16), SaveOptions{ExternalData: "w.bin"}))
	weights := filepath.Join(dir, "w.bin")
	data, err := os.ReadFile(weights)
	must(t, err)
	for at := 0; at < len(data); at += 1000 {
		must(t, os.WriteFile(weights, data[:at], 0o644))
		_, closer, err := Load(path, LoadOptions{})
		if err == nil {
			must(t, closer.Close())
			t.Fatalf("weights of %d bytes are read when cut at %d", len(data), at)
		}
		if fault.KindOf(err) != fault.Invalid {
			t.Errorf("cut at %d: %v", at, err)
		}
	}
	must(t, os.Remove(weights))
	if _, _, err := Load(path, LoadOptions{}); fault.KindOf(err) != fault.Invalid {
		t.Errorf("without its weights: %v", err)
	}
}

// TestFunctionsHaveVersionsOfTheirOwn: what a function is written out to keeps them, and
// cannot be written as a graph of one version.
func TestFunctionsHaveVersionsOfTheirOwn(t *testing.T) {
	var m message
	sub(modelFunction, str(functionName, "F"), str(functionDomain, "f"), str(functionInput, "a"), str(functionOutput, "b"),
		sub(functionOpset, num(opsetVersion, 11)),
		sub(functionNode, str(nodeOp, "Squeeze"), str(nodeInput, "a"), str(nodeOutput, "b")))(&m)
	call := sub(graphNode, str(nodeOp, "F"), str(nodeDomain, "f"), str(nodeInput, "x"), str(nodeOutput, "y"))
	g, err := Read(append(model(input("x", sub(shapeDim, num(dimValue, 1))), call, node("Neg", "z", "y"),
		sub(graphOutput, str(infoName, "z"), sub(infoType, sub(typeTensor, num(typeTensorElem, 1))))), m.last...), LoadOptions{})
	must(t, err)
	var squeeze, neg *graph.Node
	for _, n := range g.Nodes {
		switch n.Op.Name {
		case "Squeeze":
			squeeze = n
		case "Neg":
			neg = n
		}
	}
	if squeeze == nil || g.OpVersion(squeeze) != 11 || g.OpVersion(neg) == 11 {
		t.Errorf("nodes %v, Squeeze of version %d", g.Nodes, squeeze.Version)
	}
	if c, _ := g.Clone(); c.OpVersion(c.Nodes[0]) != 11 {
		t.Error("a copy does not keep it")
	}
	if err := Write(&bytes.Buffer{}, g, SaveOptions{}); fault.KindOf(err) != fault.Unsupported {
		t.Errorf("written: %v", err)
	}
}

// TestListsKeepTheirTypes from a file to the next one.
func TestListsKeepTheirTypes(t *testing.T) {
	f32 := sub(typeTensor, num(typeTensorElem, 1), sub(typeTensorShape, sub(shapeDim, num(dimValue, 3))))
	numbers := sub(typeMap, num(typeMapKey, 7), sub(typeMapValue, sub(typeTensor, num(typeTensorElem, 1))))
	for want, typ := range map[string]func(*message){
		"sequence(float32[3])":                  sub(typeSequence, sub(typeListElem, f32)),
		"optional(sequence(float32[3]))":        sub(typeOptional, sub(typeListElem, sub(typeSequence, sub(typeListElem, f32)))),
		"map(int64, float32)":                   numbers,
		"sequence(map(int64, float32))":         sub(typeSequence, sub(typeListElem, numbers)),
		"optional(sequence(map(int64, float32)": sub(typeOptional, sub(typeListElem, sub(typeSequence, sub(typeListElem, numbers)))),
	} {
		g, err := Read(model(sub(graphInput, str(infoName, "s"), sub(infoType, typ)), node("Identity", "t", "s"),
			sub(graphOutput, str(infoName, "t"), sub(infoType, typ))), LoadOptions{})
		must(t, err)
		var b bytes.Buffer
		must(t, Write(&b, g, SaveOptions{}))
		again, err := Read(b.Bytes(), LoadOptions{})
		must(t, err)
		for _, v := range []*graph.Value{g.Inputs[0], g.Outputs[0], again.Inputs[0], again.Outputs[0]} {
			if got := v.Elements.String(); len(got) < len(want) || got[:len(want)] != want {
				t.Errorf("%s is %s, want %s", v.Name, got, want)
			}
		}
	}
	unknown := &graph.Graph{Opset: graph.Opsets(), Inputs: []*graph.Value{{Name: "s", Type: graph.Type{DType: tensor.Sequence}}}}
	if err := Write(&bytes.Buffer{}, unknown, SaveOptions{}); fault.KindOf(err) != fault.Unsupported {
		t.Errorf("a list of unknown elements is written: %v", err)
	}
}
