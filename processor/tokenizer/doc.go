// Package tokenizer turns text into the integers that language models read, and back.
//
// A text goes through stages, each named as in Hugging Face's tokenizer.json, from
// which a tokenizer is read, as from the metadata of a GGUF file:
//
//	tokenizer.go   Tokenizer: all stages, and what is put around the tokens, such as BOS
//	added.go       added tokens such as <|im_end|> are cut out of the text
//	normalize.go   normalisers change characters
//	normalform.go  … Unicode's normal forms
//	charsmap.go    … SentencePiece's table
//	split.go       pre-tokenizers cut text into pieces that no token crosses
//	pattern.go     … regular expressions become the scanners in scan.go
//	class.go       … classes of characters; unicode.go, versions of Unicode
//	bpe.go         models: merging pairs,
//	unigram.go     the likeliest segmentation,
//	wordpiece.go   or the longest match; trie.go finds tokens by their text
//	decode.go      tokens become text, whole or as a stream
//	json.go, jsonparts.go, gguf.go  where tokenizers come from
//
// Text is UTF-8. A byte that is not part of a character counts as U+FFFD. Time and
// memory are linear in the text, or n·log n within a piece that has no end.
package tokenizer
