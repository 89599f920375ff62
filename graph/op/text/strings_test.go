package text_test

import (
	"strings"
	"testing"

	"tandem/graph"
	"tandem/graph/op/optest"
	"tandem/tensor"
)

func TestStrings(t *testing.T) {
	in := func(x ...*tensor.Tensor) []*tensor.Tensor { return x }
	optest.Cases(t, []optest.Case{
		{Op: "StringConcat", Version: 20, In: in(optest.Words("a", "b"), tensor.OfStrings([]string{"x", "y"}, 2, 1)), Want: []string{`string[2x2] ["ax" "bx" "ay" "by"]`}},
		{Name: "white space", Op: "StringSplit", Version: 20, Attrs: graph.Attrs{"maxsplit": int64(1)}, In: in(optest.Words(" a  b c ", "")), Want: []string{`string[2x2] ["a" "b c" "" ""]`, "int64[2] [2 0]"}},
		{Name: "delimiter", Op: "StringSplit", Version: 20, Attrs: graph.Attrs{"delimiter": ","}, In: in(optest.Words("a,,b", "c")), Want: []string{`string[2x3] ["a" "" "b" "c" "" ""]`, "int64[2] [3 1]"}},
		{Name: "stop words", Op: "StringNormalizer", Version: 10, Attrs: graph.Attrs{"stopwords": []string{"THE"}, "case_change_action": "UPPER"}, In: in(optest.Words("the", "cät")), Want: []string{`string[1] ["CÄT"]`}},
		{Name: "rows", Op: "StringNormalizer", Version: 10, In: in(tensor.OfStrings([]string{"a", "b"}, 2, 1)), Err: "neither"},
		{Op: "RegexFullMatch", Version: 20, Attrs: graph.Attrs{"pattern": "a|bc"}, In: in(optest.Words("a", "ab", "bc", "bc\n")), Want: []string{"bool[4] [1 0 1 0]"}},
		{Name: "pattern", Op: "RegexFullMatch", Version: 20, Attrs: graph.Attrs{"pattern": "("}, In: in(optest.Words("a")), Err: `pattern "("`},
		{Name: "weights", Op: "TfIdfVectorizer", Version: 9, Attrs: graph.Attrs{"mode": "TFIDF", "min_gram_length": int64(1), "max_gram_length": int64(2), "max_skip_count": int64(1),
			"ngram_counts": []int64{0, 1}, "ngram_indexes": []int64{1, 0}, "pool_strings": []string{"a", "a", "b"}, "weights": []float32{2, 0.5}},
			In: in(optest.Words("a", "a", "b")), Want: []string{"float32[2] [1 4]"}},
		{Name: "pool", Op: "TfIdfVectorizer", Version: 9, Attrs: graph.Attrs{"max_gram_length": int64(2), "ngram_counts": []int64{0, 1}, "ngram_indexes": []int64{0}, "pool_int64s": []int64{1, 2}}, In: in(optest.Ints(1)), Err: "do not divide"},
	})
}

// Results are those of onnxruntime 1.32.0, but where it is said to refuse.
func TestTokenizer(t *testing.T) {
	token := func(re string) graph.Attrs { return graph.Attrs{"tokenexp": re, "pad_value": "#"} }
	split := func(by ...string) graph.Attrs { return graph.Attrs{"separators": by, "pad_value": "#"} }
	with := func(a graph.Attrs, name string, v any) graph.Attrs { a[name] = v; return a }
	for _, tc := range []struct {
		name  string
		attrs graph.Attrs
		in    *tensor.Tensor
		want  string // or what an error says
	}{
		{"tokens", token("[a-z]+"), optest.Words("ab cd", "e"), `string[2x2] ["ab" "cd" "e" "#"]`},
		{"none long enough", with(token("[a-z]+"), "mincharnum", int64(2)), optest.Words("ab cd", "e"), `string[2x2] ["ab" "cd" "#" "#"]`},
		{"characters are counted", with(token("[^ ]+"), "mincharnum", int64(2)), optest.Words("äöü x"), `string[1x1] ["äöü"]`},
		{"marks", with(token("[a-z]+"), "mark", int64(1)), optest.Words("ab cd", ""), `string[2x4] ["\x02" "ab" "cd" "\x03" "\x02" "\x03" "#" "#"]`},
		{"no token", with(token("[a-z]+"), "mark", int64(1)), optest.Words("", "1"), `string[2x0] []`},
		{"no text", token("[a-z]+"), tensor.OfStrings(nil, 2, 0), `string[2x0] []`},
		{"empty matches", token("a*"), optest.Words("baab"), `string[1x1] ["aa"]`},
		{"separators", split(", ?", ";"), tensor.OfStrings([]string{"ab, cd;e", ",f,,g;"}, 1, 2), `string[1x2x3] ["ab" "cd" "e" "f" "g" "#"]`},
		{"into characters", with(split(""), "mark", int64(1)), optest.Words("aäb", "c"), `string[2x5] ["\x02" "a" "ä" "b" "\x03" "\x02" "c" "\x03" "#" "#"]`},
		{"neither", graph.Attrs{"pad_value": "#"}, optest.Words("a"), "neither"},
		{"both", with(split(","), "tokenexp", "a"), optest.Words("a"), "both"},
		{"bad pattern", token("("), optest.Words("a"), `tokenexp "("`},
		{"bad separator", split(",", "b*"), optest.Words("a"), `separator "b*" matches where there is nothing`},
		{"shortest", with(token("a"), "mincharnum", int64(0)), optest.Words("a"), "mincharnum is 0"},
		{"rank", token("a"), tensor.OfStrings([]string{"a"}, 1, 1, 1), "one or two dimensions"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			out, err := optest.Apply(t, graph.OpID{Domain: "com.microsoft", Name: "Tokenizer"}, 1, tc.attrs, tc.in)
			if err != nil {
				if !strings.Contains(err.Error(), tc.want) {
					t.Errorf("error %v, want %s", err, tc.want)
				}
				return
			}
			if s := optest.Elements(out[0]); s != tc.want {
				t.Errorf("%s, want %s", s, tc.want)
			}
		})
	}
}
