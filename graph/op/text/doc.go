// Package text holds the operators on strings: joining, cutting, normalising, matching,
// tokenizing and counting words, as pipelines of scikit-learn and of ONNX write them.
//
//	strings.go    StringConcat, StringSplit, StringNormalizer, RegexFullMatch
//	tfidf.go      TfIdfVectorizer: n-grams counted and weighed
//	tokenizer.go  Tokenizer of com.microsoft
//
// What makes tokens for language models is processor/tokenizer.
package text
