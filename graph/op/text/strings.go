package text

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"tandem/graph"
	"tandem/graph/op/move"
	"tandem/tensor"
)

// Ops work on text.
func Ops() []graph.Op {
	return []graph.Op{
		{ID: graph.OpID{Name: "StringConcat"}, Since: 20, Infer: inferStringConcat, Kernel: kernelStringConcat},
		{ID: graph.OpID{Name: "StringSplit"}, Since: 20, Late: true, Kernel: kernelStringSplit},
		{ID: graph.OpID{Name: "StringNormalizer"}, Since: 10, Late: true, Kernel: kernelStringNormalizer},
		{ID: graph.OpID{Name: "RegexFullMatch"}, Since: 20, Infer: inferRegexFullMatch, Kernel: kernelRegexFullMatch, Flat: true},
		{ID: graph.OpID{Domain: "com.microsoft", Name: "Tokenizer"}, Since: 1, Late: true, Kernel: kernelTokenizer},
		{ID: graph.OpID{Name: "TfIdfVectorizer"}, Since: 9, Infer: inferTfIdf, Kernel: kernelTfIdf},
	}
}

func wantStrings(c *graph.Infer, inputs ...int) error {
	for _, i := range inputs {
		if d := c.In(i).DType; d != tensor.String {
			return fmt.Errorf("input %d (%s) is %v, expected strings", i, c.Node.Inputs[i].Name, d)
		}
	}
	return nil
}

func inferStringConcat(c *graph.Infer) error {
	if err := c.Require(2, 2); err != nil {
		return err
	}
	if err := wantStrings(c, 0, 1); err != nil {
		return err
	}
	shape, err := graph.Broadcast(c.In(0).Shape, c.In(1).Shape)
	if err != nil {
		return err
	}
	c.Out(0, tensor.String, shape)
	return nil
}

// kernelStringConcat first spreads the operands over the output's shape.
func kernelStringConcat(c *graph.Call) (func() error, error) {
	y := c.Out[0]
	m := move.For[string]()
	var plans [2]*move.Strides
	for i := range plans {
		var err error
		if plans[i], err = move.Broadcast(c.In[i].Shape(), y.Shape()); err != nil {
			return nil, err
		}
	}
	second, err := c.New(tensor.String, y.Shape()...)
	if err != nil {
		return nil, err
	}
	return func() error {
		m.Strided(y, c.In[0], plans[0])
		m.Strided(second, c.In[1], plans[1])
		out := y.Strings()
		for i, s := range second.Strings() {
			out[i] += s
		}
		return nil
	}, nil
}

// textOf is the one input of a Late operator on strings.
func textOf(c *graph.Call) (*tensor.Tensor, error) {
	if len(c.In) != 1 || c.In[0] == nil || c.In[0].DType() != tensor.String {
		return nil, fmt.Errorf("one input of strings is expected")
	}
	return c.In[0], nil
}

// kernelStringSplit: without a delimiter, runs of white space separate. Shorter
// lists of parts end in empty strings.
func kernelStringSplit(c *graph.Call) (func() error, error) {
	x, err := textOf(c)
	if err != nil {
		return nil, err
	}
	delimiter, most := c.Node.Attrs.String("delimiter", ""), c.Node.Attrs.Int("maxsplit", -1)
	return func() error {
		parts, width := make([][]string, x.Len()), 0
		for i, s := range x.Strings() {
			c.Pool.Look()
			parts[i] = splitText(s, delimiter, most)
			width = max(width, len(parts[i]))
		}
		shape := append(slices.Clone([]int(x.Shape())), width)
		if _, err := tensor.Shape(shape).CheckedLen(1 << 28); err != nil {
			return err
		}
		y, err := c.Make(0, tensor.String, shape...)
		if err != nil {
			return err
		}
		if y != nil {
			for i, list := range parts {
				copy(y.Strings()[i*width:], list)
			}
		}
		z, err := c.Make(1, tensor.Int64, x.Shape()...)
		if err != nil {
			return err
		}
		if z != nil {
			for i, list := range parts {
				z.I64()[i] = int64(len(list))
			}
		}
		return nil
	}, nil
}

// splitText cuts at most that many times; without limit if it is negative.
func splitText(s, delimiter string, most int) []string {
	if delimiter != "" {
		if s == "" {
			return nil
		}
		if most < 0 {
			return strings.Split(s, delimiter)
		}
		return strings.SplitN(s, delimiter, most+1)
	}
	if most < 0 {
		return strings.Fields(s)
	}
	const space = " \t\n\v\f\r"
	var parts []string
	for s = strings.TrimLeft(s, space); s != ""; s = strings.TrimLeft(s, space) {
		at := strings.IndexAny(s, space)
		if len(parts) == most || at < 0 {
			return append(parts, strings.TrimRight(s, space))
		}
		parts, s = append(parts, s[:at]), s[at:]
	}
	return parts
}

// kernelStringNormalizer drops stop words and changes case. If nothing is left,
// an empty string is.
func kernelStringNormalizer(c *graph.Call) (func() error, error) {
	x, err := textOf(c)
	if err != nil {
		return nil, err
	}
	if x.Rank() > 2 || x.Rank() < 1 || x.Rank() == 2 && x.Dim(0) != 1 {
		return nil, fmt.Errorf("shape %v is neither [C] nor [1, C]", x.Shape())
	}
	change := func(s string) string { return s }
	switch action := c.Node.Attrs.String("case_change_action", "NONE"); action {
	case "LOWER":
		change = strings.ToLower
	case "UPPER":
		change = strings.ToUpper
	case "NONE":
	default:
		return nil, fmt.Errorf("case_change_action %q is not known", action)
	}
	key := func(s string) string { return s }
	if c.Node.Attrs.Int("is_case_sensitive", 0) == 0 {
		key = strings.ToLower
	}
	stop := map[string]bool{}
	words, _ := c.Node.Attrs["stopwords"].([]string)
	for _, w := range words {
		stop[key(w)] = true
	}
	return func() error {
		var kept []string
		for _, s := range x.Strings() {
			c.Pool.Look()
			if !stop[key(s)] {
				kept = append(kept, change(s))
			}
		}
		if len(kept) == 0 {
			kept = []string{""}
		}
		shape := slices.Clone(x.Shape())
		shape[len(shape)-1] = len(kept)
		y, err := c.Make(0, tensor.String, shape...)
		if y == nil || err != nil {
			return err
		}
		copy(y.Strings(), kept)
		return nil
	}, nil
}

func inferRegexFullMatch(c *graph.Infer) error {
	if err := c.Require(1, 1); err != nil {
		return err
	}
	if err := wantStrings(c, 0); err != nil {
		return err
	}
	if _, err := fullMatch(c.Node.Attrs); err != nil {
		return err
	}
	c.Out(0, tensor.Bool, c.In(0).Shape)
	return nil
}

// fullMatch compiles the pattern, which is in the syntax of RE2, as Go's is.
func fullMatch(a graph.Attrs) (*regexp.Regexp, error) {
	pattern := a.String("pattern", "")
	re, err := regexp.Compile(`\A(?:` + pattern + `)\z`)
	if err != nil {
		return nil, fmt.Errorf("pattern %q: %w", pattern, err)
	}
	return re, nil
}

func kernelRegexFullMatch(c *graph.Call) (func() error, error) {
	re, err := fullMatch(c.Node.Attrs)
	if err != nil {
		return nil, err
	}
	return func() error {
		y := tensor.Data[bool](c.Out[0])
		for i, s := range c.In[0].Strings() {
			c.Pool.Look()
			y[i] = re.MatchString(s)
		}
		return nil
	}, nil
}
