package op_test

import (
	"strings"
	"testing"

	"tandem/graph"
	"tandem/graph/op"
)

// withoutGradient says, for every operator that has no gradient, why it has none.
// Operators of one reason stand together; "…" is the rest of a name.
var withoutGradient = map[string]string{
	"results are truth values":                                           `And Or Xor Not Equal Greater GreaterOrEqual Less LessOrEqual IsInf IsNaN OptionalHasElement RegexFullMatch`,
	"results are integers":                                               `ArgMax ArgMin NonZero Shape Size NonMaxSuppression Multinomial`,
	"results are 0 or 1, and do not move with the operand":               `Hardmax`,
	"operands are integers, or bits":                                     `BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor BitCast ConvInteger MatMulInteger`,
	"the length of the result, and so its type, depends on the operands": `Range`,
	"equal elements share a result; PyTorch has no gradient either":      `Unique`,
	"results do not depend on the values of operands, or are drawn": `ConstantOfShape EyeLike RandomNormal RandomNormalLike RandomUniform RandomUniformLike Bernoulli
		BlackmanWindow HammingWindow HannWindow MelWeightMatrix`,
	"rounded to codes: trained by steps of its own, not by a gradient": `QuantizeLinear DynamicQuantizeLinear QLinearConv QLinearMatMul com.microsoft.QuantizeLinear
		com.microsoft.DynamicQuantizeMatMul com.microsoft.QLinearAdd com.microsoft.QLinearMul
		com.microsoft.DynamicQuantizeLSTM com.microsoft.QAttention com.microsoft.QEmbedLayerNormalization com.microsoft.QGemm
		com.microsoft.QLinearAveragePool com.microsoft.QLinearConcat com.microsoft.QLinearGlobalAveragePool com.microsoft.QLinearLeakyRelu
		com.microsoft.QLinearSigmoid com.microsoft.QLinearSoftmax com.microsoft.QLinearWhere
		com.microsoft.NhwcMaxPool`,
	"operands are codes; scales, and what QMoE multiplies, are differentiable, but not done":                                `com.microsoft.MatMulIntegerToFloat com.microsoft.GatherBlockQuantized com.microsoft.QMoE`,
	"make lists: what reads an element is written out":                                                                      `Optional SequenceConstruct SequenceEmpty SequenceErase SequenceInsert`,
	"texts and images in files":                                                                                             `StringConcat StringNormalizer StringSplit TfIdfVectorizer com.microsoft.Tokenizer ImageDecoder`,
	"classical models, trained elsewhere; some (Scaler, Normalizer, LinearRegressor) have a derivative that is not written": `ai.onnx.ml.…`,
	"steps of optimizers": `ai.onnx.preview.training.…`,
	"differentiable, but not done, for it is a step of serving: what is trained is attention over whole sequences": `com.microsoft.PagedAttention`,
	"written by passes and by gradients, after differentiation":                                                    `tandem.…`,
}

// TestDifferentiable: every operator has a gradient, is written out for it, or stands
// above with the reason why not. (That each gradient has a case is
// TestGradientsEqualFiniteDifferences.)
func TestDifferentiable(t *testing.T) {
	reasons := map[string]string{}
	for why, names := range withoutGradient {
		for _, name := range strings.Fields(names) {
			reasons[name] = why
		}
	}
	domain := func(id graph.OpID) string { return id.Domain + ".…" }
	used := map[string]bool{}
	for _, o := range op.Default().All() {
		if o.Grad != nil || o.Expand != nil {
			continue
		}
		name := o.ID.String()
		if reasons[name] == "" {
			name = domain(o.ID)
		}
		if reasons[name] == "" {
			t.Errorf("%v (from opset %d) has no gradient and no reason for it", o.ID, o.Since)
		}
		used[name] = true
	}
	for name := range reasons {
		if !used[name] {
			t.Errorf("%s stands among those without a gradient, but has one or is not there", name)
		}
	}
}
