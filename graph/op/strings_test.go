package op_test

import (
	"strings"
	"testing"

	"tandem/graph"
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

// Results are those of onnxruntime 1.32.0, but where it is said to refuse.
func TestTokenizer(t *testing.T) {
	token := func(re string) graph.Attrs { return attrs("tokenexp", re, "pad_value", "#") }
	split := func(by ...string) graph.Attrs { return attrs("separators", by, "pad_value", "#") }
	with := func(a graph.Attrs, name string, v any) graph.Attrs { a[name] = v; return a }
	for _, tc := range []struct {
		name  string
		attrs graph.Attrs
		in    *tensor.Tensor
		want  string // or what an error says
	}{
		{"tokens", token("[a-z]+"), words("ab cd", "e"), `string[2x2] ["ab" "cd" "e" "#"]`},
		{"none long enough", with(token("[a-z]+"), "mincharnum", int64(2)), words("ab cd", "e"), `string[2x2] ["ab" "cd" "#" "#"]`},
		{"characters are counted", with(token("[^ ]+"), "mincharnum", int64(2)), words("äöü x"), `string[1x1] ["äöü"]`},
		{"marks", with(token("[a-z]+"), "mark", int64(1)), words("ab cd", ""), `string[2x4] ["\x02" "ab" "cd" "\x03" "\x02" "\x03" "#" "#"]`},
		{"no token", with(token("[a-z]+"), "mark", int64(1)), words("", "1"), `string[2x0] []`},
		{"no text", token("[a-z]+"), tensor.OfStrings(nil, 2, 0), `string[2x0] []`},
		{"empty matches", token("a*"), words("baab"), `string[1x1] ["aa"]`},
		{"separators", split(", ?", ";"), tensor.OfStrings([]string{"ab, cd;e", ",f,,g;"}, 1, 2), `string[1x2x3] ["ab" "cd" "e" "f" "g" "#"]`},
		{"into characters", with(split(""), "mark", int64(1)), words("aäb", "c"), `string[2x5] ["\x02" "a" "ä" "b" "\x03" "\x02" "c" "\x03" "#" "#"]`},
		{"neither", attrs("pad_value", "#"), words("a"), "neither"},
		{"both", with(split(","), "tokenexp", "a"), words("a"), "both"},
		{"bad pattern", token("("), words("a"), `tokenexp "("`},
		{"bad separator", split(",", "b*"), words("a"), `separator "b*" matches where there is nothing`},
		{"shortest", with(token("a"), "mincharnum", int64(0)), words("a"), "mincharnum is 0"},
		{"rank", token("a"), tensor.OfStrings([]string{"a"}, 1, 1, 1), "one or two dimensions"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := apply(t, 18, graph.OpID{Domain: "com.microsoft", Name: "Tokenizer"}, tc.attrs, tc.in)
			if err != nil {
				if !strings.Contains(err.Error(), tc.want) {
					t.Errorf("error %v, want %s", err, tc.want)
				}
				return
			}
			if s := elementsOf(got); s != tc.want {
				t.Errorf("%s, want %s", s, tc.want)
			}
		})
	}
}
