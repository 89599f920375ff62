package ref

import "math"

// ByteTile is the contract of the kernels of whole numbers: a block of
//
//	C[i,j] = start + Σ_k A[i,k]·B[k,j]
//
// modulo 2³². B has words of two numbers, those of rows 2k and 2k+1; a row of A has
// Lines lines of Words words, which begin Line numbers apart. 0 lines are one.
type ByteTile struct {
	Rows, Cols, Words int
	Lines, Line       int
	A                 []int16 // row i at i*RS
	RS                int
	B                 []int16 // word (k,j) at 2*(k*BS + j)
	BS                int
	C                 []int32 // (i,j) at i*CS + j
	CS                int
	Start             []int32 // of the columns; nil: start from C
}

// Run computes the tile.
func (t *ByteTile) Run() {
	for i := range t.Rows {
		c := t.C[i*t.CS:][:t.Cols]
		if t.Start != nil {
			copy(c, t.Start)
		}
		for k := range max(1, t.Lines) * t.Words {
			a, b := t.A[i*t.RS+k/t.Words*t.Line+k%t.Words*2:][:2], t.B[2*k*t.BS:][:2*t.Cols]
			for j := range c {
				c[j] += int32(a[0])*int32(b[2*j]) + int32(a[1])*int32(b[2*j+1])
			}
		}
	}
}

// QuantizeBytes writes round(x/scale) + zero, saturated to bytes, signed or not.
// Halves round to even; NaN becomes the least.
func QuantizeBytes(dst []byte, x []float32, scale float32, zero int32, signed bool) {
	for i, v := range x {
		dst[i] = saturate(v/scale, zero, signed)
	}
}

// LeastMagnitude is what RowSteps takes for the magnitude of a row that has none: steps
// and their inverse are then numbers.
const LeastMagnitude = 1e-30

// RowSteps rounds a row to steps of its own, of which its largest magnitude is 127:
// bytes are 128 and so many steps. It returns the step, which is NaN if the row has one.
func RowSteps(dst []byte, x []float32) (step float32) {
	m := uint32(0)
	for _, v := range x {
		m = max(m, math.Float32bits(v)&^(1<<31))
	}
	factor, step := StepsOf(m)
	for i, v := range x {
		dst[i] = byte(int32(math.RoundToEven(float64(float32(v*factor)))) + 128)
	}
	return step
}

// StepsOf are the inverse of the step, and the step, for the bits of a magnitude.
func StepsOf(bits uint32) (factor, step float32) {
	m := math.Float32frombits(max(bits, math.Float32bits(LeastMagnitude)))
	return 127 / m, float32(m * float32(1.0/127))
}

// Requantize is QuantizeBytes for c·scale, a scale for each element.
func Requantize(dst []byte, c []int32, scale []float32, zero int32, signed bool) {
	for i, v := range c {
		dst[i] = saturate(float32(v)*scale[i], zero, signed)
	}
}

func saturate(v float32, zero int32, signed bool) byte {
	lo, hi := Range(zero, signed)
	if !(v > lo) {
		v = lo
	}
	return byte(int32(math.RoundToEven(float64(min(v, hi)))) + zero)
}

// Range are the ends of the range of bytes less a zero point.
func Range(zero int32, signed bool) (lo, hi float32) {
	if signed {
		return float32(-128 - zero), float32(127 - zero)
	}
	return float32(-zero), float32(255 - zero)
}

// DequantizeBytes writes (x-zero)·scale.
func DequantizeBytes(y []float32, x []byte, scale float32, zero int32, signed bool) {
	for i, v := range x {
		n := float32(v)
		if signed {
			n = float32(int8(v))
		}
		y[i] = (n - float32(zero)) * scale
	}
}

// ScaleSums writes c·(s·scale) + bias, rounded after each; bias may be nil.
func ScaleSums(y []float32, c []int32, scale, bias []float32, s float32) {
	for i, v := range c {
		f := float32(s * scale[i])
		y[i] = float32(float32(v) * f)
		if bias != nil {
			y[i] += bias[i]
		}
	}
}

// Steps are bytes with one scale and zero point.
type Steps struct {
	Scale  float32
	Zero   int32
	Signed bool
}

// At is the number that a byte stands for.
func (s Steps) At(b byte) float32 {
	n := float32(b)
	if s.Signed {
		n = float32(int8(b))
	}
	return float32(n-float32(s.Zero)) * s.Scale
}

// CombineBytes writes the sum, or the product, of a and b, in the steps of y: bytes less
// their zero point count in factors, which are the scales over that of y.
func CombineBytes(dst, x, z []byte, a, b, y Steps, product bool) {
	a, b = Factors(a, b, y, product)
	for i := range dst {
		p, q := a.At(x[i]), b.At(z[i])
		v := float32(p + q)
		if product {
			v = float32(p * q)
		}
		dst[i] = saturate(v, y.Zero, y.Signed)
	}
}

// Factors are a and b in steps of y: what CombineBytes adds or multiplies.
func Factors(a, b, y Steps, product bool) (Steps, Steps) {
	if product {
		a.Scale, b.Scale = float32(a.Scale*b.Scale)/y.Scale, 1
	} else {
		a.Scale, b.Scale = a.Scale/y.Scale, b.Scale/y.Scale
	}
	return a, b
}

// ByteWindows are the windows of pixels of Channels bytes: that of the first begins where
// x does, that of the next Step bytes on. Windows have Rows of Columns taps, which begin
// Line and Tap bytes apart.
type ByteWindows struct {
	Pixels, Channels, Step   int
	Rows, Columns, Line, Tap int
	Signed                   bool
}

// Max writes the greatest byte of each window and channel.
func (w *ByteWindows) Max(y, x []byte) {
	flip := byte(0)
	if w.Signed {
		flip = 128
	}
	for p := range w.Pixels {
		to := y[p*w.Channels:][:w.Channels]
		copy(to, x[p*w.Step:])
		for t := range w.Rows * w.Columns {
			for i, v := range x[p*w.Step+t/w.Columns*w.Line+t%w.Columns*w.Tap:][:w.Channels] {
				if v^flip > to[i]^flip {
					to[i] = v
				}
			}
		}
	}
}
