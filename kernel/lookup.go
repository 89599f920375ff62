package kernel

// Lookup computes Y[i] = Table[X[i]]; Y may be X.
type Lookup struct {
	Y, X  []byte
	Table []byte // 256

	isa ISA
}

// Run computes Y.
func (v *Lookup) Run(p *Pool) {
	checkLen("Lookup", "X", len(v.X), len(v.Y))
	checkLen("Lookup", "Table", len(v.Table), 256)
	v.isa = p.isa
	p.run(len(v.Y), vectorGrain, v)
}

func (v *Lookup) chunk(lo, hi, _ int) { lookup(v.isa, v.Y[lo:hi], v.X[lo:hi], v.Table) }

// lookup writes what table has for the bytes of x.
func lookup(isa ISA, y, x, table []byte) {
	n := 0
	if isa != Generic {
		n = len(y) &^ (4*isa.lanes() - 1)
		for i := 0; i < n; i += 4 * asmElements {
			lookupAsm(isa, &y[i], &x[i], &table[0], min(4*asmElements, n-i))
		}
	}
	all := (*[256]byte)(table)
	x = x[:len(y)]
	for i := n; i < len(x); i++ {
		y[i] = all[x[i]]
	}
}

// lookup replaces bytes by what the table has for them.
func (s *byteStrips) lookup(row, rows, n0, n int) {
	if n == s.cs && s.step == 1 { // the rows follow each other
		n, rows = rows*n, 1
	}
	for r := range rows {
		y := s.to.Bytes[(row+r*s.step)*s.cs+s.column+n0:][:n]
		lookup(s.vectors, y, y, s.to.Table)
	}
}
