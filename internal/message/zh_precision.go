package message

// zhPrecision is what is said of models of floats that are rounded to few bits.
var zhPrecision = [...]entry{
	{"Round the model as it is opened: int8, int8-weights or int4-weights. tandem quantize tells what that costs, and keeps the result.", "打开模型时舍入：int8、int8-weights 或 int4-weights。tandem quantize 会说明代价，并保存结果。"},
	{"%s is for ONNX files and artifacts; language models are written in another precision", "%s 用于 ONNX 文件和模型目录；语言模型须以另一种精度写出"},
	{"%s is for tensors in %s and an %s file", "%s 用于 %s 中的张量和 %s 文件"},
	{"bf16 needs dot products of bfloat16 (VDPBF16PS), for which Tandem has no kernels yet", "bf16 需要 bfloat16 点积指令（VDPBF16PS），Tandem 尚无这样的内核"},
	{"give int8, int8-weights or int4-weights", "请给出 int8、int8-weights 或 int4-weights"},
}
