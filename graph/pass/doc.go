// Package pass holds the rewrites that make a graph cheaper to run without
// changing what it computes. Each is a pure function of the graph, in a file of
// its own, with a test that shows a graph before and after.
//
// Inference, Serving, Evaluation and Training list the passes for each use, in the order
// in which they run. Decoder makes the paged form of language models (decoder.go).
package pass

import (
	"tandem/graph"
	"tandem/kernel"
)

// Inference are the passes for a program whose weights are constants.
func Inference(p *kernel.Pool) []graph.Pass { return Serving(p, nil) }

// Serving is Inference with packed weights that may have been kept from an earlier
// start.
func Serving(p *kernel.Pool, packing Packing) []graph.Pass {
	passes := []graph.Pass{
		LoopInvariants(), Integers(), Tables(p), FuseBFloat16(p, packing),
		Dead(), // so that no weights are folded in vain
		Fold(p), Views(),
		FuseIntegers(), FewBits(p, packing),
		FoldPad(), FuseHard(), FuseGroupNorm(), FoldBatchNorm(),
		ChannelsLast(p, packing), FuseConvLast(), FuseByteProducts(),
	}
	passes = append(passes, Evaluation()...)
	return append(passes, KeepBFloat16(p), JoinProducts(p, packing), Pack(p, packing))
}

// Evaluation are the passes for a program that reads weights which another one
// goes on changing: none may copy them.
func Evaluation() []graph.Pass {
	return []graph.Pass{
		Views(),
		FuseGelu(), FuseSwish(), FuseLayerNorm(), FuseRMSNorm(),
		FuseRotary(), RowsFirst(), SplitStacks(), FuseAttention(),
		FuseLinear(), FuseActivation(),
		Dead(),
	}
}

// Training are the passes for a program that updates its weights.
func Training() []graph.Pass {
	return []graph.Pass{FuseActivation(), JoinAttention(), Dead(), UpdateEarly()}
}
