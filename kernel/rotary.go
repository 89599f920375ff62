package kernel

import "tandem/tensor"

// Rotary turns the first 2·Half elements of every head by the angles of its row, which
// grow with the position. Y may be X where their strides are the same. A row's bits
// depend on the row only.
type Rotary struct {
	Y, X                     []float32
	Batch, Rows, Heads, Size int // Size: elements of a head
	YS, XS                   Strides
	Cos, Sin                 []float32 // [positions,Half]
	Half                     int
	// Interleaved: element 2i is turned against 2i+1, instead of i against i+Half.
	Interleaved bool
	// Position is the row of Cos and Sin for a row of an example.
	Position func(batch, row int) int

	isa ISA
}

// Run computes Y.
func (v *Rotary) Run(p *Pool) {
	v.isa = p.isa
	p.run(v.Batch*v.Rows, ceilDiv(1<<12, max(1, v.Heads*v.Size)), v)
}

func (v *Rotary) chunk(lo, hi, _ int) {
	for i := lo; i < hi; i++ {
		b, row := i/v.Rows, i%v.Rows
		at := v.Position(b, row) * v.Half
		cos, sin := v.Cos[at:][:v.Half], v.Sin[at:][:v.Half]
		x, y := b*v.XS.Batch+row*v.XS.Row, b*v.YS.Batch+row*v.YS.Row
		for h := range v.Heads {
			head := v.Y[y+h*v.YS.Head:][:v.Size]
			copy(head, v.X[x+h*v.XS.Head:][:v.Size])
			if v.Interleaved {
				turnPairs(v.isa, head, cos, sin)
			} else {
				turnHalves(v.isa, head, cos, sin)
			}
		}
	}
}

// turnHalves turns the pairs (x[i], x[i+n]) of a head by angles, n = len(cos).
// Which pairs assembly turns depends on n alone.
func turnHalves(isa ISA, x, cos, sin []float32) {
	n, done := len(cos), 0
	low, high := x[:n], x[n:2*n]
	if isa != Generic {
		done = n &^ (isa.lanes() - 1)
		for i := 0; i < done; i += asmElements {
			turnHalvesAsm(isa, &low[i], &high[i], &cos[i], &sin[i], min(asmElements, done-i))
		}
	}
	for i := done; i < n; i++ {
		c, s, a, b := cos[i], sin[i], low[i], high[i]
		low[i], high[i] = float32(c*a)-float32(s*b), float32(s*a)+float32(c*b)
	}
}

// turnPairs turns the pairs (x[2i], x[2i+1]).
func turnPairs(isa ISA, x, cos, sin []float32) {
	n, done := len(cos), 0
	if isa != Generic {
		done = n &^ (isa.lanes()/2 - 1)
		for i := 0; i < done; i += asmElements {
			turnPairsAsm(isa, &x[2*i], &cos[i], &sin[i], min(asmElements, done-i))
		}
	}
	for i := done; i < n; i++ {
		c, s, a, b := cos[i], sin[i], x[2*i], x[2*i+1]
		x[2*i], x[2*i+1] = float32(c*a)-float32(s*b), float32(s*a)+float32(c*b)
	}
}

// narrow rounds to float16.
func narrow(isa ISA, dst []uint16, x []float32) {
	n := 0
	if isa != Generic {
		n = len(x) &^ 15
		for i := 0; i < n; i += asmElements {
			narrowAsm(isa, &dst[i], &x[i], min(asmElements, n-i))
		}
	}
	for i, v := range x[n:] {
		dst[n+i] = tensor.Float16Bits(v)
	}
}
