package llm

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tandem/graph"
	"tandem/graph/op"
	"tandem/graph/pass"
	"tandem/kernel"
	"tandem/tensor"
)

// pagedStep is one step of a paged decoder: some tokens of each of some sequences.
type pagedStep struct {
	tokens [][]int // by sequence, those of this step
	past   []int   // how many are in the cache
	blocks [][]int // pages by sequence
}

// inputs are the step's, in the order of the graph's inputs. Every row is asked for.
func (p pagedStep) inputs(g *graph.Graph) []*tensor.Tensor {
	var ids, positions, rows, past, blocks []int64
	lengths := []int64{0}
	most := 0
	for _, b := range p.blocks {
		most = max(most, len(b))
	}
	for s, tokens := range p.tokens {
		for i, id := range tokens {
			ids, positions, rows = append(ids, int64(id)), append(positions, int64(p.past[s]+i)), append(rows, int64(len(rows)))
		}
		lengths, past = append(lengths, int64(len(ids))), append(past, int64(p.past[s]))
		for i := range most {
			page := int64(-1)
			if i < len(p.blocks[s]) {
				page = int64(p.blocks[s][i])
			}
			blocks = append(blocks, page)
		}
	}
	byName := map[string]*tensor.Tensor{
		InputIDs: tensor.Of(ids, 1, len(ids)), InputPositions: tensor.Of(positions, 1, len(ids)), InputPast: tensor.Of(past, len(past)),
		InputRows: tensor.Of(rows, len(rows)), pass.InputLengths: tensor.Of(lengths, len(lengths)), pass.InputBlocks: tensor.Of(blocks, len(past), most),
	}
	var in []*tensor.Tensor
	for _, v := range g.Inputs {
		in = append(in, byName[v.Name])
	}
	return in
}

func (p pagedStep) run(t *testing.T, s *graph.Session) [][]float32 {
	t.Helper()
	out, err := s.Run(context.Background(), p.inputs(s.Program().Graph()), nil)
	if err != nil {
		t.Fatal(err)
	}
	var all [][]float32
	for i := range out[0].Dim(0) {
		all = append(all, out[0].Rows(i, i+1).F32())
	}
	return all
}

func compiledPaged(t *testing.T, g *graph.Graph, pool *kernel.Pool) *graph.Session {
	t.Helper()
	p, err := graph.Compile(g, graph.Options{Ops: op.Default(), Pool: pool, Passes: pass.Decoder(pool, 9, nil)})
	if err != nil {
		t.Fatal(err)
	}
	s, err := p.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// TestPagedDecoders: in its paged form every architecture gives the logits of
// transformers; and two sequences of unlike length in one step have the bits that
// each has alone, fed whole, in pieces, or token by token.
func TestPagedDecoders(t *testing.T) {
	files, _ := filepath.Glob("testdata/transformers/*.json")
	for _, path := range files {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".json"), func(t *testing.T) {
			r := readRecorded(t, path)
			_, g := r.build(t, 64)
			pool := kernel.NewPool(2, kernel.Detect())
			defer pool.Close()
			s := compiledPaged(t, g, pool)
			alone := pagedStep{[][]int{r.Tokens}, []int{0}, [][]int{{4, 2}}}.run(t, s)
			compare(t, alone, r, 1e-2) // the cache is float16
			short := r.Tokens[3:][:len(r.Tokens)/2]
			other := pagedStep{[][]int{short}, []int{0}, [][]int{{1, 7}}}.run(t, s)
			equal := func(what string, got, want [][]float32) {
				t.Helper()
				for i := range got {
					if !slices.Equal(got[i], want[i]) {
						t.Errorf("%s: row %d has other bits", what, i)
						return
					}
				}
			}
			// The second is fed in a piece beside all of the first, its rest beside nothing.
			cut := len(short) / 3
			pagedStep{[][]int{short[:cut]}, []int{0}, [][]int{{0, 5}}}.run(t, s)
			both := pagedStep{[][]int{r.Tokens, short[cut:]}, []int{0, cut}, [][]int{{8, 3}, {0, 5}}}.run(t, s)
			equal("first of two", both[:len(r.Tokens)], alone)
			equal("second of two", both[len(r.Tokens):], other[cut:])
			for i := range short {
				one := pagedStep{[][]int{short[i : i+1], r.Tokens[i : i+1]}, []int{i, i}, [][]int{{6}, {1}}}.run(t, s)
				equal("token by token", one[:1], other[i:])
				equal("token by token", one[1:], alone[i:])
			}
		})
	}
}
