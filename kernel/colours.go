package kernel

// Colours gathers the colours of pixels: of each of N images, three planes of bytes in X
// become pixels of three bytes in Y.
type Colours struct {
	N, Pixels int
	X, Y      []byte

	isa ISA
}

// colourPixels are done at a time.
const colourPixels = 4096

// Run computes Y.
func (v *Colours) Run(p *Pool) {
	checkLen("Colours", "X", len(v.X), 3*v.N*v.Pixels)
	checkLen("Colours", "Y", len(v.Y), 3*v.N*v.Pixels)
	v.isa = p.isa
	p.run(v.N*ceilDiv(v.Pixels, colourPixels), vectorGrain/colourPixels, v)
}

func (v *Colours) chunk(lo, hi, _ int) {
	pieces := ceilDiv(v.Pixels, colourPixels)
	for u := lo; u < hi; u++ {
		image, from := u/pieces*3*v.Pixels, u%pieces*colourPixels
		n := min(colourPixels, v.Pixels-from)
		x, y := v.X[image+from:], v.Y[image+3*from:][:3*n]
		i := 0
		if v.isa >= AVX2 && n >= 16 {
			i = n &^ 15
			coloursAVX2(&y[0], &x[0], i, v.Pixels)
		}
		for ; i < n; i++ {
			for c := range 3 {
				y[3*i+c] = x[c*v.Pixels+i]
			}
		}
	}
}
