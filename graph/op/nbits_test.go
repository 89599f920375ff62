package op_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"tandem/graph"
	"tandem/graph/op"
	"tandem/graph/pass"
	"tandem/kernel"
	"tandem/tensor"
)

// TestFewBitsAreNear: products with packed blocks are as near to those in floats as
// activations of eight bits let them be, for all widths, blocks and zero points that are
// packed, on every tier.
func TestFewBitsAreNear(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 1))
	const k, n = 192, 37
	for isa := kernel.Generic; isa <= kernel.Detect(); isa++ {
		p := kernel.NewPool(2, isa)
		t.Cleanup(p.Close)
		for _, bits := range []int{4, 8} {
			for _, block := range []int{32, 64} {
				for _, zeros := range []bool{false, true} {
					b := graph.NewBuilder("g", op.Default())
					x := b.Input("x", tensor.Float32, graph.Sym("batch"), graph.Const(k))
					scales := randomFloats(r, 1, n, k/block)
					in := []*graph.Value{x, b.Const("w", randomOf(r, tensor.Uint8, n, k/block, block*bits/8)), b.Const("s", scales), nil, nil, b.Const("bias", randomFloats(r, 1, n))}
					if zeros {
						in[3] = b.Const("z", randomOf(r, tensor.Uint8, n*((k/block*bits+7)/8)))
					}
					attrs := graph.Attrs{"K": int64(k), "N": int64(n), "bits": int64(bits), "block_size": int64(block), "accuracy_level": int64(4)}
					b.Output(b.Node(graph.OpID{Domain: "com.microsoft", Name: "MatMulNBits"}, 1, attrs, in...)[0])
					if b.Err() != nil {
						t.Fatal(b.Err())
					}
					name := fmt.Sprint(isa, bits, block, zeros)
					for _, rows := range []int{1, 9} {
						x := randomFloats(r, 3, rows, k)
						want := run(t, session(t, b.G, p, 0), x)
						var packed *graph.Node
						program, err := graph.Compile(b.G, graph.Options{Ops: op.Default(), Pool: p, Passes: pass.Inference(p)})
						if err != nil {
							t.Fatal(err)
						}
						packed = program.Graph().Nodes[0]
						if is := packed.Op.Name == "Projection"; is == (bits == 8 && zeros) {
							t.Errorf("%s: it runs as %v", name, packed.Op)
						}
						got := run(t, session(t, b.G, p, 0, pass.Inference(p)...), x)
						var d, all float64
						for i, v := range want {
							d += math.Pow(float64(v-got[i]), 2)
							all += math.Pow(float64(v), 2)
						}
						if d = math.Sqrt(d / all); d > 0.008 {
							t.Errorf("%s, %d rows: %.4f away", name, rows, d)
						}
					}
				}
			}
		}
	}
}

// TestCodesAreTheOperator: products of floats with packed codes give what the operator
// gives that makes floats of one column at a time, for four and eight bits, blocks and zero
// points of all kinds, on every tier.
func TestCodesAreTheOperator(t *testing.T) {
	r := rand.New(rand.NewPCG(12, 1))
	for isa := kernel.Generic; isa <= kernel.Detect(); isa++ {
		p := kernel.NewPool(2, isa)
		t.Cleanup(p.Close)
		for _, form := range [][2]int{{4, 16}, {4, 32}, {4, 128}, {8, 16}, {8, 32}} {
			bits, block := form[0], form[1]
			for _, zeros := range []string{"", "codes", "floats"} {
				const k, n = 200, 37
				blocks := (k + block - 1) / block
				b := graph.NewBuilder("g", op.Default())
				x := b.Input("x", tensor.Float32, graph.Sym("batch"), graph.Const(k))
				in := []*graph.Value{x, b.Const("w", randomOf(r, tensor.Uint8, n, blocks, block*bits/8)), b.Const("s", randomFloats(r, 1, n*blocks)), nil, nil, b.Const("bias", randomFloats(r, 1, n))}
				switch zeros {
				case "codes":
					in[3] = b.Const("z", randomOf(r, tensor.Uint8, n*((blocks*bits+7)/8)))
				case "floats":
					in[3] = b.Const("z", randomFloats(r, 8, n*blocks))
				}
				attrs := graph.Attrs{"K": int64(k), "N": int64(n), "block_size": int64(block), "bits": int64(bits)}
				y := b.Node(graph.OpID{Domain: "com.microsoft", Name: "MatMulNBits"}, 1, attrs, in...)[0]
				b.Output(b.Op("Relu", nil, y))
				if b.Err() != nil {
					t.Fatal(b.Err())
				}
				program, err := graph.Compile(b.G, graph.Options{Ops: op.Default(), Pool: p, Passes: pass.Inference(p)})
				if err != nil {
					t.Fatal(err)
				}
				if nodes := program.Graph().Nodes; len(nodes) != 1 || nodes[0].Op.Name != "Linear" {
					t.Errorf("%d bits, blocks of %d, zeros %q: runs as %v", bits, block, zeros, nodes)
				}
				for _, rows := range []int{1, 9, 30} {
					x := randomFloats(r, 3, rows, k)
					want, got := run(t, session(t, b.G, p, 0), x), run(t, session(t, b.G, p, 0, pass.Inference(p)...), x)
					for i, v := range want {
						if d := math.Abs(float64(v - got[i])); d > 2e-3*float64(bits*bits)/16 {
							t.Fatalf("%v, %d bits, blocks of %d, zeros %q, %d rows: element %d is %v, want %v", isa, bits, block, zeros, rows, i, got[i], v)
						}
					}
				}
			}
		}
	}
}
