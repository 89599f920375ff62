package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
	"github.com/mmcloughlin/avo/x86"
)

// Offsets in kernel.packArgs and kernel.piece.
const (
	packDst, packSrc, packList         = 0, 8, 16
	packDS, packChannelStride          = 24, 32
	packChannels, packTaps, packPieces = 40, 48, 56
	packAhead                          = 64
	pieceOffset, pieceMask, pieceSize  = 0, 8, 16
)

// writePatches writes the im2col packers: for every channel and tap, two half
// rows that are merged from pieces.
func writePatches(w *writer) {
	for _, lanes := range []int{16, 8} {
		w.packer(lanes, map[int]string{16: "patchesAVX512", 8: "patchesAVX2"}[lanes])
	}
}

func (w *writer) packer(lanes int, name string) {
	w.function(name, "func(args *byte)", name+" packs rows of image patches; see packArgs.")
	args := reg.RAX
	w.load("args", args)
	var (
		dst, src, list   = reg.RDI, reg.RSI, reg.RBX
		ds, taps, pieces = reg.R8, reg.R9, reg.R10
		left, offset     = reg.R11, reg.R13
		ahead            = reg.R12
		channels         = reg.RCX
	)
	w.do(x86.MOVQ(mem(args, packDst), dst))
	w.do(x86.MOVQ(mem(args, packSrc), src))
	w.do(x86.MOVQ(mem(args, packDS), ds))
	w.do(x86.MOVQ(mem(args, packChannels), channels))
	if lanes == 8 {
		w.bitVector(reg.Y3)
	}
	w.do(x86.MOVQ(mem(args, packAhead), ahead))
	w.label("channel")
	w.do(x86.PREFETCHT0(operand.Mem{Base: src, Index: ahead, Scale: 1}))
	w.do(x86.PREFETCHT0(operand.Mem{Base: src, Index: ahead, Scale: 1, Disp: 64}))
	w.do(x86.MOVQ(mem(args, packList), list))
	w.do(x86.MOVQ(mem(args, packTaps), taps))
	w.do(x86.MOVQ(mem(args, packPieces), pieces))
	w.do(x86.CMPQ(pieces, operand.U8(1)))
	w.do(x86.JE(to("one")))
	w.do(x86.CMPQ(pieces, operand.U8(2)))
	w.do(x86.JE(to("two")))
	w.do(x86.JMP(to("many")))

	one := func(at int, merge bool) {
		w.do(x86.MOVQ(mem(list, at+pieceOffset), offset))
		w.mergePiece(lanes, src, offset, mem(list, at+pieceMask), merge)
	}
	store := func(half int) {
		if lanes == 16 {
			w.do(x86.VMOVUPS(reg.Z0, mem(dst, half*64)))
		} else {
			w.do(x86.VMOVUPS(reg.Y0, mem(dst, half*32)))
		}
	}
	for n, label := range []string{1: "one", 2: "two"} {
		if n == 0 {
			continue
		}
		w.label(label)
		for half := range 2 {
			for i := range n {
				one((half*n+i)*pieceSize, i > 0)
			}
			store(half)
		}
		w.do(x86.ADDQ(operand.U32(2*n*pieceSize), list))
		w.do(x86.ADDQ(ds, dst))
		w.do(x86.DECQ(taps))
		w.do(x86.JNZ(to(label)))
		w.do(x86.JMP(to("next")))
	}

	w.label("many")
	for half := range 2 {
		w.do(x86.MOVQ(pieces, left))
		w.do(x86.VXORPS(reg.X0, reg.X0, reg.X0))
		w.label(fmt.Sprintf("piece%d", half))
		one(0, true)
		w.do(x86.ADDQ(operand.U8(pieceSize), list))
		w.do(x86.DECQ(left))
		w.do(x86.JNZ(to(fmt.Sprintf("piece%d", half))))
		store(half)
	}
	w.do(x86.ADDQ(ds, dst))
	w.do(x86.DECQ(taps))
	w.do(x86.JNZ(to("many")))

	w.label("next")
	w.do(x86.ADDQ(mem(args, packChannelStride), src))
	w.do(x86.DECQ(channels))
	w.do(x86.JNZ(to("channel")))
	w.do(x86.VZEROUPPER())
	w.do(x86.RET())
}

// mergePiece loads the masked lanes at src+offset into vector 0; the others
// stay (merge) or become zero.
func (w *writer) mergePiece(lanes int, src, offset reg.GPPhysical, mask operand.Mem, merge bool) {
	from := operand.Mem{Base: src, Index: offset, Scale: 1}
	if lanes == 16 {
		w.do(x86.KMOVW(mask, reg.K1))
		if !merge {
			w.do(x86.VMOVUPS_Z(from, reg.K1, reg.Z0))
			return
		}
		w.do(x86.VMOVUPS_Z(from, reg.K1, reg.Z1))
		w.do(x86.VORPS(reg.Z1, reg.Z0, reg.Z0))
		return
	}
	w.do(x86.VPBROADCASTD(mask, reg.Y1))
	w.do(x86.VPAND(reg.Y3, reg.Y1, reg.Y1))
	w.do(x86.VPCMPEQD(reg.Y3, reg.Y1, reg.Y1))
	if !merge {
		w.do(x86.VMASKMOVPS(from, reg.Y1, reg.Y0))
		return
	}
	w.do(x86.VMASKMOVPS(from, reg.Y1, reg.Y2))
	w.do(x86.VORPS(reg.Y2, reg.Y0, reg.Y0))
}

// bitVector sets v to 1, 2, 4 … 128.
func (w *writer) bitVector(v reg.VecPhysical) {
	w.do(x86.MOVQ(operand.U64(0x8040201008040201), reg.R15))
	w.do(x86.VMOVQ(reg.R15, v.AsX().(reg.VecPhysical)))
	w.do(x86.VPMOVZXBD(v.AsX(), v))
}
