package kernel

import "tandem/kernel/ref"

// ByteRange finds the least and the greatest element of X and 0. NaN is passed over.
type ByteRange struct {
	X      []float32
	Lo, Hi float32

	isa   ISA
	lanes [][32]float32 // of each worker: minima in the first half of vectors, maxima in the second
}

// Run finds them.
func (v *ByteRange) Run(p *Pool) {
	v.isa = p.isa
	if len(v.lanes) != p.threads {
		v.lanes = make([][32]float32, p.threads)
	}
	clear(v.lanes)
	p.run(len(v.X), vectorGrain, v)
	v.Lo, v.Hi = 0, 0
	for i := range v.lanes {
		for _, f := range v.lanes[i] {
			v.Lo, v.Hi = min(v.Lo, f), max(v.Hi, f)
		}
	}
}

func (v *ByteRange) chunk(lo, hi, worker int) {
	lanes, x := &v.lanes[worker], v.X[lo:hi]
	if v.isa == Generic {
		for _, f := range x {
			if f == f {
				lanes[0], lanes[16] = min(lanes[0], f), max(lanes[16], f)
			}
		}
		return
	}
	n := len(x) &^ (v.isa.lanes() - 1)
	for i := 0; i < n; i += asmElements {
		extremesAsm(v.isa, &lanes[0], &x[i], min(asmElements, n-i))
	}
	if n < len(x) {
		var t [16]float32
		copy(t[:], x[n:])
		extremesAsm(v.isa, &lanes[0], &t[0], v.isa.lanes())
	}
}

// QuantizeBytes computes Y = saturate(round(X/Scale) + Zero) on len(X) elements, in
// int8 if Signed, else uint8.
type QuantizeBytes struct {
	Y      []byte
	X      []float32
	Scale  float32
	Zero   int32
	Signed bool

	isa ISA
}

// Run computes Y.
func (v *QuantizeBytes) Run(p *Pool) {
	checkLen("QuantizeBytes", "Y", len(v.Y), len(v.X))
	v.isa = p.isa
	p.run(len(v.X), vectorGrain, v)
}

func (v *QuantizeBytes) chunk(lo, hi, _ int) {
	quantizeBytes(v.isa, v.Y[lo:hi], v.X[lo:hi], v.Scale, v.Zero, v.Signed)
}

func quantizeBytes(isa ISA, y []byte, x []float32, scale float32, zero int32, signed bool) {
	if isa == Generic {
		ref.QuantizeBytes(y, x, scale, zero, signed)
		return
	}
	lo, hi := ref.Range(zero, signed)
	n := len(x) &^ (isa.lanes() - 1)
	for i := 0; i < n; i += asmElements {
		quantizeBytesAsm(isa, &y[i], &x[i], min(asmElements, n-i), scale, lo, hi, zero)
	}
	if n < len(x) {
		var tx [16]float32
		var ty [16]byte
		copy(tx[:], x[n:])
		quantizeBytesAsm(isa, &ty[0], &tx[0], isa.lanes(), scale, lo, hi, zero)
		copy(y[n:len(x)], ty[:])
	}
}

// DequantizeBytes computes Y = (X-Zero)·Scale on len(Y) elements of int8 if Signed,
// else uint8.
type DequantizeBytes struct {
	Y      []float32
	X      []byte
	Scale  float32
	Zero   int32
	Signed bool

	isa ISA
}

// Run computes Y.
func (v *DequantizeBytes) Run(p *Pool) {
	checkLen("DequantizeBytes", "X", len(v.X), len(v.Y))
	v.isa = p.isa
	p.run(len(v.Y), vectorGrain, v)
}

func (v *DequantizeBytes) chunk(lo, hi, _ int) {
	dequantizeBytes(v.isa, v.Y[lo:hi], v.X[lo:hi], v.Scale, v.Zero, v.Signed)
}

// dequantizeBytes writes (x-zero)·scale for the first len(y) bytes of x.
func dequantizeBytes(isa ISA, y []float32, x []byte, scale float32, zero int32, signed bool) {
	x = x[:len(y)]
	if isa == Generic {
		ref.DequantizeBytes(y, x, scale, zero, signed)
		return
	}
	n := len(y) &^ (isa.lanes() - 1)
	for i := 0; i < n; i += asmElements {
		dequantizeBytesAsm(isa, signed, &y[i], &x[i], min(asmElements, n-i), scale, float32(zero))
	}
	if n < len(y) {
		var tx [16]byte
		var ty [16]float32
		copy(tx[:], x[n:])
		dequantizeBytesAsm(isa, signed, &ty[0], &tx[0], isa.lanes(), scale, float32(zero))
		copy(y[n:], ty[:])
	}
}

// scaleSums writes c·(s·scale) + bias, rounded after each operation; bias may be nil,
// and y lie where c does.
func scaleSums(isa ISA, y []float32, c []int32, scale, bias []float32, s float32) {
	if isa == Generic {
		ref.ScaleSums(y, c[:len(y)], scale, bias, s)
		return
	}
	n := len(y) &^ (isa.lanes() - 1)
	if n > 0 {
		var b *float32
		if bias != nil {
			b = &bias[0]
		}
		scaleSumsAsm(isa, &y[0], &c[0], &scale[0], b, n, s)
	}
	if n < len(y) {
		var ty, ts, tb [16]float32
		var tc [16]int32
		var b *float32
		copy(tc[:], c[n:len(y)])
		copy(ts[:], scale[n:len(y)])
		if bias != nil {
			copy(tb[:], bias[n:len(y)])
			b = &tb[0]
		}
		scaleSumsAsm(isa, &ty[0], &tc[0], &ts[0], b, isa.lanes(), s)
		copy(y[n:], ty[:])
	}
}

// requantize writes round(c·scale) + zero as bytes.
func requantize(isa ISA, y []byte, c []int32, scale []float32, zero int32, signed bool) {
	if isa == Generic {
		ref.Requantize(y, c[:len(y)], scale, zero, signed)
		return
	}
	lo, hi := ref.Range(zero, signed)
	n := len(y) &^ (isa.lanes() - 1)
	if n > 0 {
		requantizeAsm(isa, &y[0], &c[0], &scale[0], n, lo, hi, zero)
	}
	if n < len(y) {
		var ty [16]byte
		var ts [16]float32
		var tc [16]int32
		copy(tc[:], c[n:len(y)])
		copy(ts[:], scale[n:len(y)])
		requantizeAsm(isa, &ty[0], &tc[0], &ts[0], isa.lanes(), lo, hi, zero)
		copy(y[n:], ty[:])
	}
}

// addMultiple adds z·s to c.
func addMultiple(isa ISA, c, z []int32, s int32) {
	n := 0
	if isa != Generic {
		if n = len(c) &^ (isa.lanes() - 1); n > 0 {
			addMultipleAsm(isa, &c[0], &z[0], n, s)
		}
	}
	for i := n; i < len(c); i++ {
		c[i] += z[i] * s
	}
}

// widenBytes widens bytes, xor flip, to 16 bits.
func widenBytes(isa ISA, dst []int16, x []byte, flip byte) {
	n := 0
	if isa != Generic {
		n = len(x) &^ (isa.lanes() - 1)
		for i := 0; i < n; i += asmElements {
			widenBytesAsm(isa, &dst[i], &x[i], min(asmElements, n-i), uint32(flip)*0x01010101)
		}
	}
	for i := n; i < len(x); i++ {
		dst[i] = int16(x[i] ^ flip)
	}
}

// Steps are bytes with one scale and zero point.
type Steps = ref.Steps

// CombineBytes computes Y = saturate(round(f(A, B)/scale) + zero), where f is the sum,
// or with Product the product, of the numbers that bytes stand for in the steps of each;
// the division is in the factors, as ref.CombineBytes says.
// All three are int8, or all uint8. With Repeat, A has rows of Columns bytes, each of
// which meets that many rows of B.
type CombineBytes struct {
	Product         bool
	Y, A, B         []byte
	OfA, OfB, OfY   ref.Steps
	Columns, Repeat int

	isa ISA
}

// Run computes Y.
func (v *CombineBytes) Run(p *Pool) {
	checkLen("CombineBytes", "A", len(v.A)*max(1, v.Repeat), len(v.Y))
	checkLen("CombineBytes", "B", len(v.B), len(v.Y))
	v.isa = p.isa
	p.run(len(v.Y), vectorGrain, v)
}

func (v *CombineBytes) chunk(lo, hi, _ int) {
	if v.Repeat == 0 {
		v.combine(v.isa, v.Y[lo:hi], v.A[lo:hi], v.B[lo:hi])
		return
	}
	for i := lo; i < hi; {
		row, column := i/v.Columns, i%v.Columns
		n := min(hi-i, v.Columns-column)
		v.combine(v.isa, v.Y[i:][:n], v.A[row/v.Repeat*v.Columns+column:][:n], v.B[i:][:n])
		i += n
	}
}

// combine writes y, which may be a or b.
func (v *CombineBytes) combine(isa ISA, y, a, b []byte) {
	if isa == Generic {
		ref.CombineBytes(y, a, b, v.OfA, v.OfB, v.OfY, v.Product)
		return
	}
	n := len(y) &^ (isa.lanes() - 1)
	for i := 0; i < n; i += asmElements {
		combineBytesAsm(isa, v, &y[i], &a[i], &b[i], min(asmElements, n-i))
	}
	if n < len(y) {
		var t [3][16]byte
		copy(t[0][:], a[n:])
		copy(t[1][:], b[n:])
		combineBytesAsm(isa, v, &t[2][0], &t[0][0], &t[1][0], isa.lanes())
		copy(y[n:], t[2][:])
	}
}

// SoftmaxBytes is the softmax of rows of bytes, in other steps: what DequantizeBytes, Softmax
// and QuantizeBytes compute one after another, a row at a time. Y may be X.
type SoftmaxBytes struct {
	Rows, Cols int
	X, Y       []byte
	OfX, OfY   Steps

	isa  ISA
	rows []float32 // of the workers
}

// ScratchLen is the number of bytes that Run needs on p.
func (v *SoftmaxBytes) ScratchLen(p *Pool) int { return 4 * roomsLen[float32](p.threads, v.stride()) }

// stride is the room for a row: whole cache lines.
func (v *SoftmaxBytes) stride() int { return (v.Cols + 15) &^ 15 }

// Run computes Y.
func (v *SoftmaxBytes) Run(p *Pool, scratch []byte) {
	if v.Cols == 0 {
		return
	}
	checkLen("SoftmaxBytes", "X", len(v.X), v.Rows*v.Cols)
	checkLen("SoftmaxBytes", "Y", len(v.Y), v.Rows*v.Cols)
	checkLen("SoftmaxBytes", "scratch", len(scratch), v.ScratchLen(p))
	v.isa, v.rows = p.isa, float32sAt(scratch)
	p.run(v.Rows, ceilDiv(1<<12, v.Cols), v)
}

func (v *SoftmaxBytes) chunk(lo, hi, worker int) {
	row := roomOf(v.rows, worker, v.stride())[:v.Cols]
	for i := lo; i < hi; i++ {
		dequantizeBytes(v.isa, row, v.X[i*v.Cols:][:v.Cols], v.OfX.Scale, v.OfX.Zero, v.OfX.Signed)
		softmax(v.isa, row, row)
		quantizeBytes(v.isa, v.Y[i*v.Cols:][:v.Cols], row, v.OfY.Scale, v.OfY.Zero, v.OfY.Signed)
	}
}
