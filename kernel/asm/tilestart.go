package main

import (
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
	"github.com/mmcloughlin/avo/x86"
)

// start sets the accumulators.
func (t *tileWriter) start(rows int) {
	l := func(what string) string { return t.labelName(rows, what) }
	ref := func(what string) operand.LabelRef { return operand.LabelRef(l(what)) }
	starts := []string{"fromC", "fromColumn", "fromRow", "from"}
	if t.wide {
		starts = starts[:1]
		t.do(x86.MOVQ(t.arg(argColumnsC), regOther))
	}
	t.do(x86.MOVL(t.arg(argStart), regTmp.As32()))
	for i, what := range starts {
		t.do(x86.CMPL(regTmp.As32(), operand.U8(i+1)))
		t.do(x86.JE(ref(what)))
	}
	t.each(rows, func(i, h int) { t.zero(t.acc(i, h)) })
	t.fetchC(rows)
	t.do(x86.JMP(ref("loop")))
	t.label(l("fromC"))
	t.do(x86.MOVQ(regC, regTmp))
	t.loadRows(rows)
	if t.wide {
		return
	}
	t.do(x86.JMP(ref("loop")))
	t.label(l("fromColumn"))
	t.do(x86.MOVQ(t.arg(argBias), regTmp))
	for h := range t.halves {
		t.loadHalf(regTmp, h, t.acc(0, h))
	}
	for i := 1; i < rows; i++ {
		for h := range t.halves {
			t.do(x86.VMOVAPS(t.acc(0, h), t.acc(i, h)))
		}
	}
	if t.b2 == quads {
		t.addRowStart(rows)
	}
	t.fetchC(rows)
	t.do(x86.JMP(ref("loop")))
	t.label(l("fromRow"))
	t.do(x86.MOVQ(t.arg(argBias), regTmp))
	t.each(rows, func(i, h int) {
		if h == 0 {
			t.do(x86.VBROADCASTSS(mem(regTmp, 4*i), t.acc(i, 0)))
		} else {
			t.do(x86.VMOVAPS(t.acc(i, 0), t.acc(i, 1)))
		}
	})
	t.do(x86.JMP(ref("loop")))
	t.label(l("from"))
	t.do(x86.MOVQ(t.arg(argFrom), regTmp))
	if t.b2 == quads {
		t.loadSums(rows)
	} else {
		t.loadRows(rows)
		t.fetchFrom(rows)
	}
	t.do(x86.MOVQ(t.arg(argBias), regTmp))
	t.do(x86.TESTQ(regTmp, regTmp))
	t.do(x86.JZ(ref("loop")))
	for h := range t.halves {
		t.loadHalf(regTmp, h, t.b(h))
	}
	t.each(rows, func(i, h int) {
		if t.whole() {
			t.do(x86.VPADDD(t.b(h), t.acc(i, h), t.acc(i, h)))
			return
		}
		t.do(x86.VADDPS(t.b(h), t.acc(i, h), t.acc(i, h)))
	})
	if t.b2 == quads {
		t.addRowStart(rows)
	}
}

func (t *tileWriter) zero(v reg.VecPhysical) {
	if t.lanes == 16 {
		t.do(x86.VPXORD(v, v, v))
		return
	}
	t.do(x86.VXORPS(v, v, v))
}
