package ref

// Tile is the contract of the matrix kernels: a block of
//
//	C[i,j] = act(start + Σ_k A[i,k]·B[k,j])
//
// each element one chain over k. Strides are in elements. The product is
// rounded before it is added (no fused multiply-add), on every processor.
type Tile struct {
	Rows, Cols, K       int
	A                   []float32 // (i,k) at i*RS + k*KS
	RS, KS              int
	Lines, Line         int       // A has lines of K elements, if several, Line apart
	B                   []float32 // (k,j) at k*BS + j
	BS                  int
	C                   []float32 // (i,j) at i*CS + j
	CS                  int
	FromC               bool      // start from C
	From                []float32 // start from these, laid out like C, plus ColumnBias
	ColumnBias, RowBias []float32
	ReLU                bool
}

// Run computes the tile.
func (t *Tile) Run() {
	for i := range t.Rows {
		c := t.C[i*t.CS:][:t.Cols]
		switch {
		case t.From != nil:
			copy(c, t.From[i*t.CS:])
			for j := range t.ColumnBias[:min(len(c), len(t.ColumnBias))] {
				c[j] += t.ColumnBias[j]
			}
		case t.ColumnBias != nil:
			copy(c, t.ColumnBias)
		case t.RowBias != nil:
			for j := range c {
				c[j] = t.RowBias[i]
			}
		case !t.FromC:
			clear(c)
		}
		for line := range max(1, t.Lines) {
			for k := range t.K {
				a := t.A[i*t.RS+line*t.Line+k*t.KS]
				b := t.B[(line*t.K+k)*t.BS:][:len(c)]
				for j := range c {
					c[j] += float32(a * b[j])
				}
			}
		}
		if t.ReLU {
			relu(c)
		}
	}
}

func relu(c []float32) {
	for j, v := range c {
		if v < 0 {
			c[j] = 0
		}
	}
}

// Gemm computes C = A·B (+ C), in float64, for A(i,k) = a[i*ars+k*aks],
// B(k,j) = b[k*bks+j*bcs] and C(i,j) = c[i*cs+j].
func Gemm(m, n, k int, a []float32, ars, aks int, b []float32, bks, bcs int, c []float32, cs int, accumulate bool) {
	for i := range m {
		for j := range n {
			sum := 0.0
			if accumulate {
				sum = float64(c[i*cs+j])
			}
			for q := range k {
				sum += float64(a[i*ars+q*aks]) * float64(b[q*bks+j*bcs])
			}
			c[i*cs+j] = float32(sum)
		}
	}
}
