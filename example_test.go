package tandem_test

import (
	"context"
	"fmt"
	"log"
	"math"
	"os"
	"path/filepath"

	"tandem"
	"tandem/graph"
	"tandem/graph/onnx"
	"tandem/graph/op"
	"tandem/tensor"
)

// Opens a file, looks at it and runs it.
func ExampleOpen() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "xor.onnx")
	if err := writeXOR(path); err != nil { // any ONNX file will do
		log.Fatal(err)
	}

	m, err := tandem.Open(path, tandem.Options{Threads: 1})
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	for _, in := range m.Inputs() {
		fmt.Println("takes", in.Name, in.DType, in.Shape)
	}
	for _, out := range m.Outputs() {
		fmt.Println("gives", out.Name, out.DType, out.Shape)
	}
	fmt.Println("author:", m.Metadata()["author"])

	out, err := m.Run(context.Background(), map[string]*tensor.Tensor{
		"x": tensor.Of([]float32{0, 0, 0, 1, 1, 0, 1, 1}, 4, 2),
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(out["y"], out["y"].F32())
	// Output:
	// takes x float32 [batch, 2]
	// gives y float32 [batch, 1]
	// author: nobody
	// float32[4x1] [0 1 1 0]
}

// Runs into tensors of the caller's, which needs no memory once shapes have come before.
func ExampleModel_RunInto() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "xor.onnx")
	if err := writeXOR(path); err != nil {
		log.Fatal(err)
	}
	m, err := tandem.Open(path, tandem.Options{Threads: 1})
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()

	x, y := tensor.New(tensor.Float32, 1, 2), tensor.New(tensor.Float32, 1, 1)
	in, out := []*tensor.Tensor{x}, []*tensor.Tensor{y}
	for range 3 {
		if err := m.RunInto(context.Background(), in, out); err != nil {
			log.Fatal(err)
		}
		fmt.Println(x.F32(), "gives", y.F32())
		x.F32()[0] = 1 // what is the caller's stays the caller's
	}
	// Output:
	// [0 0] gives [0]
	// [1 0] gives [1]
	// [1 0] gives [1]
}

// Adds an operator: a name in a domain of one's own, a shape rule and a kernel.
func ExampleOptions_ops() {
	softsign := graph.Op{
		ID:    graph.OpID{Domain: "com.example", Name: "ScaledAtan"},
		Since: 1,
		Infer: func(c *graph.Infer) error {
			if err := c.Require(1, 1); err != nil {
				return err
			}
			c.Out(0, c.In(0).DType, c.In(0).Shape)
			return c.Floats(0)
		},
		// The kernel is prepared once for each set of shapes; what it returns runs.
		Kernel: func(c *graph.Call) (func() error, error) {
			scale := float64(c.Node.Attrs.Float("scale", 1))
			return func() error {
				y := c.Out[0].F32()
				for i, v := range c.F32(0) {
					y[i] = float32(scale * math.Atan(float64(v)))
				}
				return nil
			}, nil
		},
	}
	ops := graph.NewTable(append(op.Lists(), []graph.Op{softsign})...)

	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "own.onnx")
	b := graph.NewBuilder("own", ops)
	b.G.Opset["com.example"] = 1
	y := b.Node(softsign.ID, 1, graph.Attrs{"scale": float32(2)}, b.Input("x", tensor.Float32, graph.Sym("n")))[0]
	y.Name = "y"
	b.Output(y)
	if b.Err() != nil {
		log.Fatal(b.Err())
	}
	if err := onnx.Save(path, b.G, onnx.SaveOptions{}); err != nil {
		log.Fatal(err)
	}

	_, err = tandem.Open(path, tandem.Options{Threads: 1})
	fmt.Println(err != nil) // without it
	m, err := tandem.Open(path, tandem.Options{Threads: 1, Ops: ops})
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	out, err := m.Run(context.Background(), map[string]*tensor.Tensor{"x": tensor.Of([]float32{0, 1}, 2)})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%.4f\n", out["y"].F32())
	// Output:
	// true
	// [0.0000 1.5708]
}

// writeXOR writes a network of two layers that computes the exclusive or.
func writeXOR(path string) error {
	b := graph.NewBuilder("xor", op.Default())
	b.G.Meta = map[string]string{"author": "nobody"}
	x := b.Input("x", tensor.Float32, graph.Sym("batch"), graph.Const(2))
	h := b.Op("Relu", nil, b.Op("Gemm", nil, x,
		b.Const("w1", tensor.Of([]float32{1, 1, 1, 1}, 2, 2)), b.Const("b1", tensor.Of([]float32{0, -1}, 2))))
	y := b.Op("Gemm", nil, h, b.Const("w2", tensor.Of([]float32{1, -2}, 2, 1)))
	y.Name = "y"
	b.Output(y)
	if b.Err() != nil {
		return b.Err()
	}
	return onnx.Save(path, b.G, onnx.SaveOptions{})
}
