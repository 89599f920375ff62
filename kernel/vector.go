package kernel

import "tandem/kernel/ref"

// vectorGrain is the number of elements in a chunk of an element-wise
// operation: its operands fit in L2, and it takes longer than handing it out.
const vectorGrain = 1 << 14

// BinaryOp is an element-wise function of two operands.
type BinaryOp uint8

const (
	OpAdd         BinaryOp = iota // a + b
	OpSub                         // a - b
	OpMul                         // a · b
	OpDiv                         // a / b
	OpPReLU                       // a, or a·b where a < 0
	OpReLUGrad                    // a where b > 0, else 0: dx from (dy, y)
	OpTanhGrad                    // a·(1 - b²): dx from (dy, y)
	OpSigmoidGrad                 // a·b·(1 - b): dx from (dy, y)
	OpGELUGrad                    // a·(Φ(b) + b·φ(b)): dx from (dy, x)
	opAddScaled                   // a + s·b
	opAddSquare                   // a + (b - s)²
)

// Binary computes Y = op(A, B) on len(Y) elements. Y may be A or B.
type Binary struct {
	Op      BinaryOp
	Y, A, B []float32

	isa ISA
}

// Run computes Y.
func (v *Binary) Run(p *Pool) {
	checkLen("Binary", "A", len(v.A), len(v.Y))
	checkLen("Binary", "B", len(v.B), len(v.Y))
	v.isa = p.isa
	p.run(len(v.Y), vectorGrain, v)
}

func (v *Binary) chunk(lo, hi, _ int) {
	binary(v.isa, v.Op, v.Y[lo:hi], v.A[lo:hi], v.B[lo:hi], 0)
}

// Do computes y = op(a, b) on the calling goroutine, which may be a worker of p. y may
// be a or b.
func (op BinaryOp) Do(p *Pool, y, a, b []float32) { binary(p.isa, op, y, a[:len(y)], b[:len(y)], 0) }

// UnaryOp is an element-wise function of one operand.
type UnaryOp uint8

const (
	OpReLU        UnaryOp = iota // x where x > 0 or NaN, else 0
	OpExp                        // within 2 ulp
	OpTanh                       // within 4 ulp
	OpSigmoid                    // within 4 ulp
	OpSiLU                       // x·sigmoid(x)
	OpGELU                       // x·(1 + tanh(√(2/π)·(x + 0.044715·x³)))/2
	OpReLU6                      // min(max(x, 0), 6)
	OpHardSigmoid                // min(max(x/6 + 1/2, 0), 1)
	OpHardSwish                  // x times its hard sigmoid
	OpErf                        // within 4 ulp
	OpGELUErf                    // x·(1 + erf(x/√2))/2, within 5 ulp for x > -1 and 2e-7·|x| for all
	opScale                      // s·x
	opAtLeast                    // s where x < s, else x
	opAtMost                     // s where x > s, else x
	opExpShift                   // exp(x - s)
)

// Unary computes Y = op(X) on len(Y) elements. Y may be X.
type Unary struct {
	Op   UnaryOp
	Y, X []float32

	isa ISA
}

// Run computes Y.
func (v *Unary) Run(p *Pool) {
	checkLen("Unary", "X", len(v.X), len(v.Y))
	v.isa = p.isa
	p.run(len(v.Y), vectorGrain, v)
}

func (v *Unary) chunk(lo, hi, _ int) { unary(v.isa, v.Op, v.Y[lo:hi], v.X[lo:hi], 0) }

// Scale computes Y = S·X on len(Y) elements. Y may be X.
type Scale struct {
	Y, X []float32
	S    float32

	isa ISA
}

// Run computes Y.
func (v *Scale) Run(p *Pool) {
	checkLen("Scale", "X", len(v.X), len(v.Y))
	v.isa = p.isa
	p.run(len(v.Y), vectorGrain, v)
}

func (v *Scale) chunk(lo, hi, _ int) { unary(v.isa, opScale, v.Y[lo:hi], v.X[lo:hi], v.S) }

// Clip computes Y = min(max(X, Low), High) on len(Y) elements; NaN stays. A limit that
// is NaN is none. Y may be X.
type Clip struct {
	Y, X      []float32
	Low, High float32

	isa ISA
}

// Run computes Y.
func (v *Clip) Run(p *Pool) {
	checkLen("Clip", "X", len(v.X), len(v.Y))
	v.isa = p.isa
	p.run(len(v.Y), vectorGrain, v)
}

// clipPiece is the number of elements that stay in L1 between the two limits.
const clipPiece = 2048

func (v *Clip) chunk(lo, hi, _ int) {
	for ; lo < hi; lo += clipPiece {
		y := v.Y[lo:min(hi, lo+clipPiece)]
		unary(v.isa, opAtLeast, y, v.X[lo:][:len(y)], v.Low)
		unary(v.isa, opAtMost, y, y, v.High)
	}
}

// lanes is the number of float32 in a vector of the tier.
func (i ISA) lanes() int {
	switch i {
	case AVX512:
		return 16
	case AVX2:
		return 8
	}
	return 1
}

// binary runs an element-wise kernel. The assembly takes whole vectors; the
// rest goes through it in buffers, so an element's bits do not depend on where
// in a slice it stands.
func binary(isa ISA, op BinaryOp, y, a, b []float32, s float32) {
	if isa == Generic {
		binaryGeneric(op, y, a, b, s)
		return
	}
	n := len(y) &^ (isa.lanes() - 1)
	for i := 0; i < n; i += asmElements {
		binaryAsm(isa, op, &y[i], &a[i], &b[i], min(asmElements, n-i), s)
	}
	if n < len(y) {
		var ta, tb [16]float32
		copy(ta[:], a[n:len(y)])
		copy(tb[:], b[n:len(y)])
		binaryAsm(isa, op, &ta[0], &ta[0], &tb[0], isa.lanes(), s)
		copy(y[n:], ta[:])
	}
}

func binaryGeneric(op BinaryOp, y, a, b []float32, s float32) {
	switch op {
	case OpAdd:
		ref.Add(y, a, b)
	case OpSub:
		ref.Sub(y, a, b)
	case OpMul:
		ref.Mul(y, a, b)
	case OpDiv:
		ref.Div(y, a, b)
	case OpPReLU:
		ref.PReLU(y, a, b)
	case OpReLUGrad:
		ref.ReLUGrad(y, a, b)
	case OpTanhGrad:
		ref.TanhGrad(y, a, b)
	case OpSigmoidGrad:
		ref.SigmoidGrad(y, a, b)
	case OpGELUGrad:
		ref.GELUGrad(y, a, b)
	case opAddScaled:
		ref.AddScaled(y, a, b, s)
	case opAddSquare:
		ref.AddSquare(y, a, b, s)
	default:
		panic("kernel: unknown BinaryOp")
	}
}

// unary is binary's counterpart for one operand.
func unary(isa ISA, op UnaryOp, y, x []float32, s float32) {
	if isa == Generic {
		unaryGeneric(op, y, x, s)
		return
	}
	n := len(y) &^ (isa.lanes() - 1)
	for i := 0; i < n; i += asmElements {
		unaryAsm(isa, op, &y[i], &x[i], min(asmElements, n-i), s)
	}
	if n < len(y) {
		var t [16]float32
		copy(t[:], x[n:len(y)])
		unaryAsm(isa, op, &t[0], &t[0], isa.lanes(), s)
		copy(y[n:], t[:])
	}
}

func unaryGeneric(op UnaryOp, y, x []float32, s float32) {
	switch op {
	case OpReLU:
		ref.ReLU(y, x)
	case OpExp:
		ref.ExpShift(y, x, 0)
	case OpTanh:
		ref.Tanh(y, x)
	case OpSigmoid:
		ref.Sigmoid(y, x)
	case OpReLU6:
		ref.ReLU6(y, x)
	case OpHardSigmoid:
		ref.HardSigmoid(y, x)
	case OpHardSwish:
		ref.HardSwish(y, x)
	case OpSiLU:
		ref.SiLU(y, x)
	case OpGELU:
		ref.GELU(y, x)
	case OpErf:
		ref.Erf(y, x)
	case OpGELUErf:
		ref.GELUErf(y, x)
	case opScale:
		ref.Scale(y, x, s)
	case opAtLeast:
		ref.AtLeast(y, x, s)
	case opAtMost:
		ref.AtMost(y, x, s)
	case opExpShift:
		ref.ExpShift(y, x, s)
	default:
		panic("kernel: unknown UnaryOp")
	}
}
