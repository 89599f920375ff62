package op_test

import (
	"strings"
	"testing"

	"tandem/graph"
	"tandem/graph/op"
)

// flat are the operators whose results move in jumps alone, so that their derivative is 0;
// Op.Flat says so of each.
const flat = `And Or Xor Not Equal Greater GreaterOrEqual Less LessOrEqual IsInf IsNaN OptionalHasElement RegexFullMatch
	ArgMax ArgMin NonZero Shape Size NonMaxSuppression ConstantOfShape EyeLike
	RandomNormal RandomNormalLike RandomUniform RandomUniformLike BlackmanWindow HammingWindow HannWindow tandem.OnesLike`

// withoutGradient says, for every other operator that has no gradient, why it has none.
// Operators of one reason stand together; "…" is the rest of a name.
var withoutGradient = map[string]string{
	"results are 0 or 1; a network that is trained through them needs another":                                                      `Hardmax ai.onnx.ml.Binarizer`,
	"drawn with probabilities, which an expectation has a gradient by, and not":                                                     `Bernoulli Multinomial`,
	"operands are integers, or bits":                                                                                                `BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor BitCast ConvInteger MatMulInteger`,
	"the length of the result depends on the operands, so that its type is known only when it runs; PyTorch has no gradient either": `Range`,
	"equal elements share a result; PyTorch has no gradient either":                                                                 `Unique`,
	"edges of a filter are rounded to bins":                                                                                         `MelWeightMatrix`,
	"rounded to codes: trained by steps of its own, not by a gradient": `QuantizeLinear DynamicQuantizeLinear QLinearConv QLinearMatMul com.microsoft.QuantizeLinear
		com.microsoft.DynamicQuantizeMatMul com.microsoft.QLinearAdd com.microsoft.QLinearMul
		com.microsoft.DynamicQuantizeLSTM com.microsoft.QAttention com.microsoft.QEmbedLayerNormalization com.microsoft.QGemm
		com.microsoft.QLinearAveragePool com.microsoft.QLinearConcat com.microsoft.QLinearGlobalAveragePool com.microsoft.QLinearLeakyRelu
		com.microsoft.QLinearSigmoid com.microsoft.QLinearSoftmax com.microsoft.QLinearWhere
		com.microsoft.NhwcMaxPool`,
	"make lists: what reads an element is written out":          `Optional SequenceConstruct SequenceEmpty SequenceErase SequenceInsert`,
	"texts and images in files":                                 `StringConcat StringNormalizer StringSplit TfIdfVectorizer com.microsoft.Tokenizer ImageDecoder`,
	"leaves of trees do not move with the features":             `ai.onnx.ml.TreeEnsemble ai.onnx.ml.TreeEnsembleClassifier ai.onnx.ml.TreeEnsembleRegressor`,
	"probabilities of pairs are coupled by iteration, or voted": `ai.onnx.ml.SVMClassifier`,
	"operands are categories, or maps": `ai.onnx.ml.OneHotEncoder ai.onnx.ml.LabelEncoder ai.onnx.ml.CategoryMapper ai.onnx.ml.ZipMap
		ai.onnx.ml.DictVectorizer ai.onnx.ml.CastMap`,
	"steps of optimizers": `ai.onnx.preview.training.…`,
	"written by passes and by gradients, after differentiation": `tandem.…`,
}

// TestDifferentiable: every operator has a gradient, is written out for it, has the
// derivative 0, or stands above with the reason why not. (That each gradient has a case is
// TestGradientsEqualFiniteDifferences.)
func TestDifferentiable(t *testing.T) {
	reasons := map[string]string{}
	for why, names := range withoutGradient {
		for _, name := range strings.Fields(names) {
			reasons[name] = why
		}
	}
	jumps := map[string]bool{}
	for _, name := range strings.Fields(flat) {
		jumps[name] = true
	}
	domain := func(id graph.OpID) string { return id.Domain + ".…" }
	used := map[string]bool{}
	for _, o := range op.Default().All() {
		name := o.ID.String()
		if o.Flat != jumps[name] {
			t.Errorf("%v (from opset %d): Flat is %v", o.ID, o.Since, o.Flat)
		}
		if o.Grad != nil || o.Expand != nil || o.Flat {
			continue
		}
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
