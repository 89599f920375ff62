package op_test

import (
	"testing"

	"tandem/tensor"
)

func TestStrings(t *testing.T) {
	in := func(x ...*tensor.Tensor) []*tensor.Tensor { return x }
	runCases(t, []nodeCase{
		{op: "StringConcat", version: 20, in: in(words("a", "b"), tensor.OfStrings([]string{"x", "y"}, 2, 1)), want: []string{`string[2x2] ["ax" "bx" "ay" "by"]`}},
		{name: "white space", op: "StringSplit", version: 20, attrs: attrs("maxsplit", int64(1)), in: in(words(" a  b c ", "")), want: []string{`string[2x2] ["a" "b c" "" ""]`, "int64[2] [2 0]"}},
		{name: "delimiter", op: "StringSplit", version: 20, attrs: attrs("delimiter", ","), in: in(words("a,,b", "c")), want: []string{`string[2x3] ["a" "" "b" "c" "" ""]`, "int64[2] [3 1]"}},
		{name: "stop words", op: "StringNormalizer", version: 10, attrs: attrs("stopwords", []string{"THE"}, "case_change_action", "UPPER"), in: in(words("the", "cät")), want: []string{`string[1] ["CÄT"]`}},
		{name: "rows", op: "StringNormalizer", version: 10, in: in(tensor.OfStrings([]string{"a", "b"}, 2, 1)), err: "neither"},
		{name: "", op: "RegexFullMatch", version: 20, attrs: attrs("pattern", "a|bc"), in: in(words("a", "ab", "bc", "bc\n")), want: []string{"bool[4] [1 0 1 0]"}},
		{name: "pattern", op: "RegexFullMatch", version: 20, attrs: attrs("pattern", "("), in: in(words("a")), err: `pattern "("`},
		{name: "weights", op: "TfIdfVectorizer", version: 9, attrs: attrs("mode", "TFIDF", "min_gram_length", int64(1), "max_gram_length", int64(2), "max_skip_count", int64(1),
			"ngram_counts", []int64{0, 1}, "ngram_indexes", []int64{1, 0}, "pool_strings", []string{"a", "a", "b"}, "weights", []float32{2, 0.5}),
			in: in(words("a", "a", "b")), want: []string{"float32[2] [1 4]"}},
		{name: "pool", op: "TfIdfVectorizer", version: 9, attrs: attrs("max_gram_length", int64(2), "ngram_counts", []int64{0, 1}, "ngram_indexes", []int64{0}, "pool_int64s", []int64{1, 2}), in: in(vector(1)), err: "do not divide"},
	})
}
