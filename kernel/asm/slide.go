package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
	"github.com/mmcloughlin/avo/x86"
)

// Offsets in kernel.slideArgs.
const (
	slideY, slideX, slideW, slideBias        = 0, 8, 16, 24
	slidePixel, slideTapX, slideTapY         = 32, 40, 48
	slideWeightX, slideWeightY               = 56, 64
	slideKX, slideKY, slidePixels, slideMask = 72, 80, 88, 96
	slideOutPixel                            = 104
	slideRows                                = 6
)

// slideOp is what a window does with its elements.
type slideOp int

const (
	slideMultiply slideOp = iota // by the tap's weight, and add
	slideMaximum
	slideAdd
)

// slideWriter writes the kernels that slide a window over pixels whose channels
// come last: two vectors of channels of up to six pixels in a row.
type slideWriter struct {
	*writer
	lanes int
	op    slideOp
}

func writeSlides(w *writer) {
	for op, name := range []string{"depthwise", "windowMax", "windowSum"} {
		(&slideWriter{w, 16, slideOp(op)}).write(name + "AVX512")
		(&slideWriter{w, 8, slideOp(op)}).write(name + "AVX2")
	}
}

func (s *slideWriter) v(i int) reg.VecPhysical {
	if s.lanes == 16 {
		return zmm[i]
	}
	return ymm[i]
}

// load reads one vector, on AVX-512 only the channels that exist.
func (s *slideWriter) vector(m operand.Mem, half int, dst reg.VecPhysical) {
	m.Disp += half * s.lanes * 4
	if s.lanes == 16 {
		s.do(x86.VMOVUPS_Z(m, []reg.Register{reg.K1, reg.K2}[half].(reg.OpmaskPhysical), dst))
		return
	}
	s.do(x86.VMOVUPS(m, dst))
}

var (
	slideRegX = []reg.Register{reg.R8, reg.R9} // pixels 0 and 3
	slidePtr  = []reg.Register{reg.R10, reg.R11}
)

func (s *slideWriter) write(name string) {
	s.function(name, "func(args *byte)", name+" slides a window over a row of pixels; see slideArgs.")
	s.load("args", regArgs)
	if s.lanes == 16 {
		s.do(x86.MOVL(mem(regArgs, slideMask), regTmp.As32()))
		s.do(x86.KMOVW(regTmp.As32(), reg.K1))
		s.do(x86.SHRL(operand.U8(16), regTmp.As32()))
		s.do(x86.KMOVW(regTmp.As32(), reg.K2))
	}
	for n := slideRows; n >= 1; n-- {
		s.do(x86.CMPQ(mem(regArgs, slidePixels), operand.U8(n)))
		s.do(x86.JE(to(fmt.Sprintf("pixels%d", n))))
	}
	s.do(x86.RET())
	for n := slideRows; n >= 1; n-- {
		s.variant(n)
	}
}

func (s *slideWriter) variant(n int) {
	var (
		pixel, tapX, weights = reg.RBX, reg.RDX, reg.RSI
		kx, ky               = reg.RCX, reg.RDI
	)
	l := func(what string) string { return fmt.Sprintf("pixels%d%s", n, what) }
	acc := func(i, half int) reg.VecPhysical { return s.v(2*i + half) }
	weight := func(half int) reg.VecPhysical { return s.v(2*slideRows + half) }
	s.label(l(""))
	s.do(x86.MOVQ(mem(regArgs, slideBias), regTmp))
	for half := range 2 {
		s.do(x86.VXORPS(acc(0, half).AsX(), acc(0, half).AsX(), acc(0, half).AsX()))
	}
	s.do(x86.TESTQ(regTmp, regTmp))
	s.do(x86.JZ(to(l("start"))))
	for half := range 2 {
		s.vector(mem(regTmp, 0), half, acc(0, half))
	}
	s.label(l("start"))
	for half := range 2 {
		for i := 1; i < n; i++ {
			s.do(x86.VMOVAPS(acc(0, half), acc(i, half)))
		}
	}
	s.do(x86.MOVQ(mem(regArgs, slideX), slideRegX[0]))
	s.do(x86.MOVQ(mem(regArgs, slideW), reg.R12))
	s.do(x86.MOVQ(mem(regArgs, slidePixel), pixel))
	s.do(x86.MOVQ(mem(regArgs, slideTapX), tapX))
	s.do(x86.LEAQ(operand.Mem{Base: slideRegX[0], Index: pixel, Scale: 2}, slideRegX[1]))
	s.do(x86.ADDQ(pixel, slideRegX[1]))
	s.do(x86.MOVQ(mem(regArgs, slideKY), ky))
	s.label(l("row"))
	s.do(x86.MOVQ(slideRegX[0], slidePtr[0]))
	s.do(x86.MOVQ(slideRegX[1], slidePtr[1]))
	s.do(x86.MOVQ(reg.R12, weights))
	s.do(x86.MOVQ(mem(regArgs, slideKX), kx))
	s.label(l("tap"))
	if s.op == slideMultiply {
		s.vector(mem(weights, 0), 0, weight(0))
		s.vector(mem(weights, 0), 1, weight(1))
	}
	for i := range n {
		m := mem(slidePtr[i/3], 0)
		if i%3 > 0 {
			m.Index, m.Scale = pixel, uint8(i%3)
		}
		for half := range 2 {
			s.combine(m, half, weight(half), acc(i, half))
		}
	}
	for i := range (n + 2) / 3 {
		s.do(x86.ADDQ(tapX, slidePtr[i]))
	}
	s.do(x86.ADDQ(mem(regArgs, slideWeightX), weights))
	s.do(x86.DECQ(kx))
	s.do(x86.JNZ(to(l("tap"))))
	for i := range 2 {
		s.do(x86.ADDQ(mem(regArgs, slideTapY), slideRegX[i]))
	}
	s.do(x86.ADDQ(mem(regArgs, slideWeightY), reg.R12))
	s.do(x86.DECQ(ky))
	s.do(x86.JNZ(to(l("row"))))
	s.do(x86.MOVQ(mem(regArgs, slideY), regTmp))
	for i := range n {
		for half := range 2 {
			m := mem(regTmp, half*s.lanes*4)
			if s.lanes == 16 {
				s.do(x86.VMOVUPS(acc(i, half), []reg.Register{reg.K1, reg.K2}[half].(reg.OpmaskPhysical), m))
			} else {
				s.do(x86.VMOVUPS(acc(i, half), m))
			}
		}
		if i < n-1 {
			s.do(x86.ADDQ(mem(regArgs, slideOutPixel), regTmp))
		}
	}
	s.do(x86.VZEROUPPER())
	s.do(x86.RET())
}

// ordered is the predicate of VCMPPS that holds unless there is a NaN.
const ordered = operand.U8(7)

// combine takes half a pixel into its accumulator. What lies beyond the last
// channel is not read: it may not be there. VMAXPS returns its second source,
// here the pixel, when either is NaN; an accumulator that is NaN stays.
func (s *slideWriter) combine(m operand.Mem, half int, weight, acc reg.VecPhysical) {
	m.Disp += half * s.lanes * 4
	if s.lanes == 8 {
		s.combineAVX2(m, weight, acc)
		return
	}
	k := []reg.Register{reg.K1, reg.K2}[half].(reg.OpmaskPhysical)
	switch s.op {
	case slideMultiply:
		s.do(x86.VFMADD231PS(m, weight, k, acc))
	case slideMaximum:
		s.do(x86.VCMPPS(ordered, acc, acc, k, reg.K3))
		s.do(x86.VMAXPS(m, acc, reg.K3, acc))
	case slideAdd:
		s.do(x86.VADDPS(m, acc, k, acc))
	}
}

func (s *slideWriter) combineAVX2(m operand.Mem, weight, acc reg.VecPhysical) {
	switch s.op {
	case slideMultiply:
		s.do(x86.VFMADD231PS(m, weight, acc))
	case slideMaximum:
		most, nan := s.v(2*slideRows), s.v(2*slideRows+1)
		s.do(x86.VCMPPS(operand.U8(3), acc, acc, nan))
		s.do(x86.VMAXPS(m, acc, most))
		s.do(x86.VBLENDVPS(nan, acc, most, acc))
	case slideAdd:
		s.do(x86.VADDPS(m, acc, acc))
	}
}
