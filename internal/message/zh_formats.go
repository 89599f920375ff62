package message

// zhFormats is what is said about the files of language models: GGUF, tokenizers, chat
// templates.
var zhFormats = [...]entry{
	{"Write a model with weights of fewer bits.", "用更少的位数写出模型的权重。"},
	{"%s would replace its own source", "%s 会覆盖它自己的来源"},
	{"give another --output", "换一个 --output"},
	{"Wrote %s: %d tensors in %s, %s instead of %s.", "已写出 %s：%d 个张量，%s，%s，原为 %s。"},
	{"no precision is called %.40q", "没有名为 %.40q 的精度"},
	{"tensor %.200q is in %v already", "张量 %.200q 已经是 %v"},
	{"quantise the model's f32, f16 or bf16 file", "请量化该模型的 f32、f16 或 bf16 文件"},
	{"tensor %.200q is encoded as %v, which Tandem does not read", "张量 %.200q 的编码是 %v，Tandem 不读取"},
	{"the file is damaged, incomplete or not GGUF: fetch or convert it again", "文件已损坏、不完整或不是 GGUF：请重新获取或转换"},
	{"the file is big-endian", "文件是大端序的"},
	{"version %d of the format, expected %d or %d", "格式版本为 %d，应为 %d 或 %d"},
	{"the file has no %s", "文件中没有 %s"},
	{"%s is of type %T and not %s", "%s 的类型是 %T，而不是%s"},
	{"tokenizer.json has %d bytes, at most %d are allowed", "tokenizer.json 有 %d 字节，至多允许 %d"},
	{"the file's tokenizer", "文件中的分词器"},
	{"the pre-tokenizer is called %.60q", "预分词器名为 %.60q"},
	{"the pre-tokenizer is a %.40q", "预分词器是 %.40q"},
	{"the normaliser is a %.40q", "规范化器是 %.40q"},
	{"the decoder is a %.40q", "解码器是 %.40q"},
	{"the post-processor is a %.40q", "后处理器是 %.40q"},
	{"use a tokenizer of one of the common models, or ask for this kind to be added", "请使用常见模型的分词器，或提出加入这一种"},
	{"the chat template", "对话模板"},
	{"the template cannot be read", "模板无法读取"},
	{"the template failed", "模板执行失败"},
	{"the model's template refuses the conversation: %s", "模型的模板拒绝了这段对话：%s"},
	{"give another template: the model's own one is damaged, or uses what Tandem does not know", "请另给一个模板：模型自带的已损坏，或使用了 Tandem 不认识的内容"},
}
