package main

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/mmcloughlin/avo/attr"
	"github.com/mmcloughlin/avo/ir"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
	"github.com/mmcloughlin/avo/x86"
)

// vectorWriter writes element-wise kernels at one width. The functions take
// whole vectors only: n is a multiple of the lanes, and not zero.
type vectorWriter struct {
	*writer
	lanes  int
	suffix string
	first  int // the vector that v(0) is
}

func widths(w *writer) []*vectorWriter {
	return []*vectorWriter{{writer: w, lanes: 16, suffix: "AVX512"}, {writer: w, lanes: 8, suffix: "AVX2"}}
}

func (w *vectorWriter) bytes() int { return w.lanes * 4 }

func (w *vectorWriter) v(i int) reg.VecPhysical {
	if w.lanes == 16 {
		return zmm[w.first+i]
	}
	return ymm[w.first+i]
}

// abreast writes what each of write adds with vectors of its own, eight each, one
// instruction of each in turn: a processor looks ahead too little to find the second of
// two long chains by itself.
func (w *vectorWriter) abreast(write ...func(*vectorWriter)) {
	fn := w.fn
	parts, longest := make([][]ir.Node, len(write)), 0
	for i, f := range write {
		w.fn = ir.NewFunction(fn.Name)
		part := *w
		part.first = w.first + 8*i
		f(&part)
		parts[i] = w.fn.Nodes
		longest = max(longest, len(parts[i]))
	}
	w.fn = fn
	for at := range longest {
		for _, p := range parts {
			if at < len(p) {
				w.fn.AddNode(p[at])
			}
		}
	}
}

// x is the low 128 bits of vector i.
func (w *vectorWriter) x(i int) reg.Register { return w.v(i).AsX() }

func (w *vectorWriter) zero(i int) { w.do(x86.VXORPS(w.x(i), w.x(i), w.x(i))) }

// constant is a vector in memory, every lane of it bits.
func (w *vectorWriter) constant(bits uint32) operand.Mem {
	name := fmt.Sprintf("lanes%08x", bits)
	for _, s := range w.file.Sections {
		if g, ok := s.(*ir.Global); ok && g.Symbol.Name == name {
			return g.Base()
		}
	}
	g := ir.NewStaticGlobal(name)
	g.Attributes = attr.RODATA | attr.NOPTR
	for range 16 {
		g.Append(operand.U32(bits))
	}
	w.file.AddSection(g)
	return g.Base()
}

// broadcast are the instructions that may repeat one word of memory in all lanes.
var broadcast = []string{"VADDPS", "VSUBPS", "VMULPS", "VMAXPS", "VMINPS", "VANDPS", "VORPS", "VCMPPS", "VFMADD132PS", "VFMADD213PS", "VFMADD231PS", "VFNMADD231PS"}

// do adds an instruction. On AVX-512 a constant is read as one word: the linker aligns
// constants to 32 bytes, so that half or all vectors of 64 lie across two cache lines, and
// reading them takes twice as long.
func (w *vectorWriter) do(i *ir.Instruction, err error) {
	if err == nil && w.lanes == 16 && slices.ContainsFunc(i.Operands, isConstant) && slices.ContainsFunc(i.Operands, isZMM) {
		switch {
		case i.Opcode == "VMOVUPS" && len(i.Operands) == 2:
			i.Opcode = "VBROADCASTSS"
		case slices.Contains(broadcast, i.Opcode) && len(i.Suffixes) == 0:
			i.Suffixes = []string{"BCST"}
		}
	}
	w.writer.do(i, err)
}

func isConstant(op operand.Op) bool {
	m, ok := op.(operand.Mem)
	return ok && strings.HasPrefix(m.Symbol.Name, "lanes")
}

func isZMM(op operand.Op) bool {
	r, ok := op.(reg.Register)
	return ok && r.Kind() == reg.KindVector && r.Size() == 64
}

func (w *vectorWriter) float(f float64) operand.Mem {
	return w.constant(math.Float32bits(float32(f)))
}

// loop runs body over n elements, unroll vectors at a time; the pointers move
// on, and body finds its vector at the displacement it is given.
func (w *vectorWriter) loop(n reg.GPPhysical, pointers []reg.GPPhysical, unroll int, body func(disp int)) {
	w.loopOf(n, pointers, unroll, func(vectors int) {
		for i := range vectors {
			body(i * w.bytes())
		}
	})
}

// loopOf is loop with a body that takes so many vectors at a time, or one.
func (w *vectorWriter) loopOf(n reg.GPPhysical, pointers []reg.GPPhysical, many int, body func(vectors int)) {
	advance := func(vectors int) {
		for _, p := range pointers {
			w.do(x86.ADDQ(operand.U32(vectors*w.bytes()), p))
		}
	}
	w.do(x86.SUBQ(operand.U32(many*w.lanes), n))
	w.do(x86.JL(to("rest")))
	w.label("loop")
	body(many)
	advance(many)
	w.do(x86.SUBQ(operand.U32(many*w.lanes), n))
	w.do(x86.JGE(to("loop")))
	w.label("rest")
	w.do(x86.ADDQ(operand.U32(many*w.lanes), n))
	w.do(x86.JZ(to("end")))
	w.label("single")
	body(1)
	advance(1)
	w.do(x86.SUBQ(operand.U32(w.lanes), n))
	w.do(x86.JNZ(to("single")))
	w.label("end")
}

func (w *vectorWriter) done() {
	w.do(x86.VZEROUPPER())
	w.do(x86.RET())
}

var (
	regY, regX1, regX2 = reg.RDI, reg.RSI, reg.RDX
	regN               = reg.RCX
)

// Predicates of VCMPPS; a NaN is not greater, and not less.
const (
	less    = operand.U8(0x11)
	greater = operand.U8(0x1e)
	notLess = operand.U8(0x05)
)

// sScale is the vector that holds the scalar operand.
const sScale = 15

func writeVectors(w *writer) {
	for _, v := range widths(w) {
		for _, op := range binaryOps {
			v.binary(op.name, 4, op.body)
		}
		v.binary("geluGrad", 1, (*vectorWriter).geluGrad)
		for _, op := range unaryOps {
			v.unary(op.name, op.unroll, op.body)
		}
		v.unaryAbreast("sigmoid", (*vectorWriter).sigmoid)
		v.unaryAbreast("tanh", (*vectorWriter).tanh)
		v.reductions()
		v.sumRows()
	}
}

// binaryOps compute vector 0 from vectors 0 (a) and 1 (b).
var binaryOps = []struct {
	name string
	body func(w *vectorWriter)
}{
	{"add", func(w *vectorWriter) { w.do(x86.VADDPS(w.v(1), w.v(0), w.v(0))) }},
	{"sub", func(w *vectorWriter) { w.do(x86.VSUBPS(w.v(1), w.v(0), w.v(0))) }},
	{"mul", func(w *vectorWriter) { w.do(x86.VMULPS(w.v(1), w.v(0), w.v(0))) }},
	{"div", func(w *vectorWriter) { w.do(x86.VDIVPS(w.v(1), w.v(0), w.v(0))) }},
	{"prelu", func(w *vectorWriter) {
		w.do(x86.VXORPS(w.x(2), w.x(2), w.x(2)))
		if w.lanes == 16 {
			w.do(x86.VCMPPS(less, w.v(2), w.v(0), reg.K1))
			w.do(x86.VMULPS(w.v(1), w.v(0), reg.K1, w.v(0)))
			return
		}
		w.do(x86.VCMPPS(less, w.v(2), w.v(0), w.v(2)))
		w.do(x86.VMULPS(w.v(1), w.v(0), w.v(1)))
		w.do(x86.VBLENDVPS(w.v(2), w.v(1), w.v(0), w.v(0)))
	}},
	{"addScaled", func(w *vectorWriter) { w.do(x86.VFMADD231PS(w.v(sScale), w.v(1), w.v(0))) }},
	{"addSquare", func(w *vectorWriter) {
		w.do(x86.VSUBPS(w.v(sScale), w.v(1), w.v(1)))
		w.do(x86.VFMADD231PS(w.v(1), w.v(1), w.v(0)))
	}},
	{"reluGrad", func(w *vectorWriter) {
		w.do(x86.VXORPS(w.x(2), w.x(2), w.x(2)))
		if w.lanes == 16 {
			w.do(x86.VCMPPS(greater, w.v(2), w.v(1), reg.K1))
			w.do(x86.VMOVAPS_Z(w.v(0), reg.K1, w.v(0)))
			return
		}
		w.do(x86.VCMPPS(greater, w.v(2), w.v(1), w.v(2)))
		w.do(x86.VANDPS(w.v(2), w.v(0), w.v(0)))
	}},
	{"tanhGrad", func(w *vectorWriter) {
		w.do(x86.VMOVUPS(w.float(1), w.v(2)))
		w.do(x86.VFNMADD231PS(w.v(1), w.v(1), w.v(2)))
		w.do(x86.VMULPS(w.v(2), w.v(0), w.v(0)))
	}},
	{"sigmoidGrad", func(w *vectorWriter) {
		w.do(x86.VMOVUPS(w.float(1), w.v(2)))
		w.do(x86.VSUBPS(w.v(1), w.v(2), w.v(2)))
		w.do(x86.VMULPS(w.v(1), w.v(0), w.v(0)))
		w.do(x86.VMULPS(w.v(2), w.v(0), w.v(0)))
	}},
}

func (w *vectorWriter) binary(name string, unroll int, body func(*vectorWriter)) {
	w.function(name+w.suffix, "func(y, a, b *float32, n int, s float32)", name+w.suffix+" is an element-wise kernel; see BinaryOp.")
	w.load("y", regY)
	w.load("a", regX1)
	w.load("b", regX2)
	w.load("n", regN)
	w.do(x86.VBROADCASTSS(w.param("s"), w.v(sScale)))
	w.loop(regN, []reg.GPPhysical{regY, regX1, regX2}, unroll, func(disp int) {
		w.do(x86.VMOVUPS(mem(regX1, disp), w.v(0)))
		w.do(x86.VMOVUPS(mem(regX2, disp), w.v(1)))
		body(w)
		w.do(x86.VMOVUPS(w.v(0), mem(regY, disp)))
	})
	w.done()
}

// unaryOps compute vector 0 from vector 0.
var unaryOps = []struct {
	name   string
	unroll int
	body   func(w *vectorWriter)
}{
	{"relu", 4, func(w *vectorWriter) {
		w.zero(1)
		w.do(x86.VMAXPS(w.v(0), w.v(1), w.v(0))) // returns the second source, x, when it is NaN
	}},
	{"scale", 4, func(w *vectorWriter) { w.do(x86.VMULPS(w.v(sScale), w.v(0), w.v(0))) }},
	{"atLeast", 4, func(w *vectorWriter) { w.do(x86.VMAXPS(w.v(0), w.v(sScale), w.v(0))) }}, // the second source where either is NaN
	{"atMost", 4, func(w *vectorWriter) { w.do(x86.VMINPS(w.v(0), w.v(sScale), w.v(0))) }},
	{"expShift", 1, func(w *vectorWriter) {
		w.do(x86.VSUBPS(w.v(sScale), w.v(0), w.v(0)))
		w.exp()
	}},
	{"relu6", 4, func(w *vectorWriter) { w.clip(0, 6) }},
	{"hardSigmoid", 4, (*vectorWriter).hardSigmoid},
	{"hardSwish", 4, func(w *vectorWriter) {
		w.do(x86.VMOVAPS(w.v(0), w.v(2)))
		w.hardSigmoid()
		w.do(x86.VMULPS(w.v(2), w.v(0), w.v(0)))
	}},
	{"erf", 1, (*vectorWriter).erf},
	{"geluErf", 1, (*vectorWriter).geluErf},
}

func (w *vectorWriter) unary(name string, unroll int, body func(*vectorWriter)) {
	w.unaryOf(name)
	w.do(x86.VBROADCASTSS(w.param("s"), w.v(sScale)))
	w.loop(regN, []reg.GPPhysical{regY, regX1}, unroll, func(disp int) {
		w.do(x86.VMOVUPS(mem(regX1, disp), w.v(0)))
		body(w)
		w.do(x86.VMOVUPS(w.v(0), mem(regY, disp)))
	})
	w.done()
}

// unaryAbreast is unary for a long chain in vectors 0 to 7 without the scalar: as many
// vectors are computed abreast as there are registers for.
func (w *vectorWriter) unaryAbreast(name string, body func(*vectorWriter)) {
	w.unaryOf(name)
	w.loopOf(regN, []reg.GPPhysical{regY, regX1}, w.lanes/4, func(vectors int) {
		var each []func(*vectorWriter)
		for i := range vectors {
			each = append(each, func(w *vectorWriter) {
				w.do(x86.VMOVUPS(mem(regX1, i*w.bytes()), w.v(0)))
				body(w)
				w.do(x86.VMOVUPS(w.v(0), mem(regY, i*w.bytes())))
			})
		}
		w.abreast(each...)
	})
	w.done()
}

// unaryOf starts a function of one operand.
func (w *vectorWriter) unaryOf(name string) {
	w.function(name+w.suffix, "func(y, x *float32, n int, s float32)", name+w.suffix+" is an element-wise kernel; see UnaryOp.")
	w.load("y", regY)
	w.load("x", regX1)
	w.load("n", regN)
}

// clip bounds vector 0; NaN passes, as the second source. It uses vector 1.
func (w *vectorWriter) clip(lowest, highest float64) {
	w.do(x86.VMOVUPS(w.float(lowest), w.v(1)))
	w.do(x86.VMAXPS(w.v(0), w.v(1), w.v(0)))
	w.do(x86.VMOVUPS(w.float(highest), w.v(1)))
	w.do(x86.VMINPS(w.v(0), w.v(1), w.v(0)))
}

// hardSigmoid replaces vector 0 by x/6 + 1/2, bounded by 0 and 1.
func (w *vectorWriter) hardSigmoid() {
	w.do(x86.VMOVUPS(w.float(0.5), w.v(1)))
	w.do(x86.VFMADD132PS(w.float(1.0/6), w.v(1), w.v(0)))
	w.clip(0, 1)
}

// join adds vectors first to first+3 up in first.
func (w *vectorWriter) join(first int) {
	w.do(x86.VADDPS(w.v(first+1), w.v(first), w.v(first)))
	w.do(x86.VADDPS(w.v(first+3), w.v(first+2), w.v(first+2)))
	w.do(x86.VADDPS(w.v(first+2), w.v(first), w.v(first)))
}

// reductions writes sum (four accumulators, n a multiple of 64) and max; both
// leave the lanes of one vector for the caller to combine.
func (w *vectorWriter) reductions() {
	w.function("sum"+w.suffix, "func(lanes, x *float32, n int)", "sum"+w.suffix+" sums x into lanes; n is a multiple of 64.")
	w.load("lanes", regY)
	w.load("x", regX1)
	w.load("n", regN)
	for i := range 4 {
		w.zero(i)
	}
	w.label("loop")
	for i := range 4 {
		w.do(x86.VADDPS(mem(regX1, i*w.bytes()), w.v(i), w.v(i)))
	}
	w.do(x86.ADDQ(operand.U32(4*w.bytes()), regX1))
	w.do(x86.SUBQ(operand.U32(4*w.lanes), regN))
	w.do(x86.JNZ(to("loop")))
	w.join(0)
	w.do(x86.VMOVUPS(w.v(0), mem(regY, 0)))
	w.done()

	w.function("max"+w.suffix, "func(lanes, x *float32, n int)", "max"+w.suffix+" reduces x to lanes, passing over NaN.")
	w.load("lanes", regY)
	w.load("x", regX1)
	w.load("n", regN)
	w.do(x86.VMOVUPS(w.float(math.Inf(-1)), w.v(0)))
	w.loop(regN, []reg.GPPhysical{regX1}, 4, func(disp int) {
		w.do(x86.VMOVUPS(mem(regX1, disp), w.v(1)))
		w.do(x86.VMAXPS(w.v(0), w.v(1), w.v(0)))
	})
	w.do(x86.VMOVUPS(w.v(0), mem(regY, 0)))
	w.done()
}

// sumRows writes the column sums of a block: dst[j] += Σ_i x[i,j], four vectors
// of columns at a time, then one.
func (w *vectorWriter) sumRows() {
	w.function("sumRows"+w.suffix, "func(dst, x *float32, n, rows, stride int)",
		"sumRows"+w.suffix+" adds rows rows of n columns to dst; the stride is in bytes.")
	dst, x, n, rows, stride, left, p := regY, regX1, regN, reg.R8, reg.R9, reg.R10, reg.R11
	w.load("dst", dst)
	w.load("x", x)
	w.load("n", n)
	w.load("rows", rows)
	w.load("stride", stride)
	block := func(vectors int, label string) {
		w.label(label)
		for i := range vectors {
			w.do(x86.VMOVUPS(mem(dst, i*w.bytes()), w.v(i)))
		}
		w.do(x86.MOVQ(x, p))
		w.do(x86.MOVQ(rows, left))
		w.label(label + "row")
		for i := range vectors {
			w.do(x86.VADDPS(mem(p, i*w.bytes()), w.v(i), w.v(i)))
		}
		w.do(x86.ADDQ(stride, p))
		w.do(x86.DECQ(left))
		w.do(x86.JNZ(to(label + "row")))
		for i := range vectors {
			w.do(x86.VMOVUPS(w.v(i), mem(dst, i*w.bytes())))
		}
		w.do(x86.ADDQ(operand.U32(vectors*w.bytes()), dst))
		w.do(x86.ADDQ(operand.U32(vectors*w.bytes()), x))
		w.do(x86.SUBQ(operand.U32(vectors*w.lanes), n))
	}
	w.do(x86.SUBQ(operand.U32(4*w.lanes), n))
	w.do(x86.JL(to("rest")))
	block(4, "four")
	w.do(x86.JGE(to("four")))
	w.label("rest")
	w.do(x86.ADDQ(operand.U32(4*w.lanes), n))
	w.do(x86.JZ(to("end")))
	block(1, "one")
	w.do(x86.JNZ(to("one")))
	w.label("end")
	w.done()
}
