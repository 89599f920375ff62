package main

import (
	"github.com/mmcloughlin/avo/reg"
	"github.com/mmcloughlin/avo/x86"
)

func writeVendor(w *writer) {
	w.function("vendor", "func() uint32", "vendor is what the name of the processor's maker begins with.")
	w.do(x86.XORL(reg.EAX, reg.EAX))
	w.do(x86.CPUID())
	ret, err := w.fn.Signature.Results().At(0).Resolve()
	if err != nil {
		panic(err)
	}
	w.do(x86.MOVL(reg.EBX, ret.Addr))
	w.do(x86.RET())
}
