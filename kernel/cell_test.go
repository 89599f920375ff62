package kernel

import (
	"math/rand/v2"
	"slices"
	"testing"

	"tandem/kernel/ref"
)

// cellCase runs one cell on tensors of [rows][widths·hidden]; all are operands and
// results.
type cellCase struct {
	name   string
	widths []int
	run    func(p *Pool, x [][]float32, active []bool, rows, hidden int)
	ref    func(x [][]float32, hidden int) // one row
}

func cellCases() []cellCase {
	return []cellCase{
		{"LSTMCell", []int{4, 1, 1, 1}, func(p *Pool, x [][]float32, active []bool, rows, hidden int) {
			(&LSTMCell{Gates: x[0], Prev: x[1], C: x[2], H: x[3], Active: active, Rows: rows, Hidden: hidden}).Run(p)
		}, func(x [][]float32, n int) { ref.LSTMCell(x[0], x[1], x[2], x[3], n) }},
		{"LSTMCellGrad", []int{4, 1, 1, 1, 1}, func(p *Pool, x [][]float32, active []bool, rows, hidden int) {
			(&LSTMCellGrad{Gates: x[0], Prev: x[1], C: x[2], DH: x[3], DC: x[4], Active: active, Rows: rows, Hidden: hidden}).Run(p)
		}, func(x [][]float32, n int) { ref.LSTMCellGrad(x[0], x[1], x[2], x[3], x[4], n) }},
		{"GRUCell", []int{3, 3, 1, 1, 1}, func(p *Pool, x [][]float32, active []bool, rows, hidden int) {
			(&GRUCell{Gates: x[0], Rec: x[1], Prev: x[2], H: x[3], Inner: x[4], Active: active, Rows: rows, Hidden: hidden}).Run(p)
		}, func(x [][]float32, n int) { ref.GRUCell(x[0], x[1], x[2], x[3], x[4], n) }},
		{"GRUCellGrad", []int{3, 1, 1, 1}, func(p *Pool, x [][]float32, active []bool, rows, hidden int) {
			(&GRUCellGrad{Gates: x[0], Prev: x[1], Inner: x[2], DH: x[3], Active: active, Rows: rows, Hidden: hidden}).Run(p)
		}, func(x [][]float32, n int) { ref.GRUCellGrad(x[0], x[1], x[2], x[3], n) }},
	}
}

// TestCells compares each cell with its reference, on every tier, with widths that
// are no whole vectors, and with rows that must stay as they are.
func TestCells(t *testing.T) {
	r := rand.New(rand.NewPCG(31, 32))
	for _, tc := range cellCases() {
		for _, p := range testPools(t) {
			for _, hidden := range []int{1, 7, 8, 16, 19, 64, 100} {
				rows := 1 + r.IntN(70)
				active := make([]bool, rows)
				for b := range active {
					active[b] = r.IntN(4) > 0
				}
				var got, want [][]float32
				for _, w := range tc.widths {
					x := guarded(rows * w * hidden)
					copy(x, random(r, len(x), 0))
					got, want = append(got, x), append(want, slices.Clone(x))
				}
				for b := range rows {
					if active[b] {
						row := make([][]float32, len(want))
						for i, w := range tc.widths {
							row[i] = want[i][b*w*hidden:][:w*hidden]
						}
						tc.ref(row, hidden)
					}
				}
				tc.run(p, got, active, rows, hidden)
				for i := range got {
					checkGuard(t, got[i])
					for j := range got[i] {
						if !close32(got[i][j], want[i][j], 2e-6) {
							t.Fatalf("%s %v hidden %d: operand %d element %d is %v, want %v", tc.name, p.ISA(), hidden, i, j, got[i][j], want[i][j])
						}
					}
				}
			}
		}
	}
}
