package processor

import (
	"encoding/json"
	"strings"

	"tandem/fault"
	"tandem/tensor"
)

// ByteTokens is how many tokens there are where bytes are the tokens.
const ByteTokens = 256

// maxSteps bounds the steps of a network that takes texts.
const maxSteps = 1 << 20

// Bytes turns texts into the tokens of a network whose tokens are the bytes of a text:
// int64 [N,Steps]. Of a longer text the last Steps bytes count; a shorter one is followed
// by zeros, which a network that sees nothing of what follows a step does not notice.
type Bytes struct {
	Steps int `json:"steps"`
}

// Validate says what's wrong with the parameters.
func (p *Bytes) Validate() error {
	if p.Steps < 1 || p.Steps > maxSteps {
		return fault.New("processor.bytes", fault.Invalid, "texts of %d steps", p.Steps).Try("train the model anew")
	}
	return nil
}

// Last is the step at which the network says what follows a text: the first for an
// empty one.
func (p *Bytes) Last(text string) int { return max(min(len(text), p.Steps)-1, 0) }

// Encode fills dst, int64 [N,Steps], with texts [N].
func (p *Bytes) Encode(dst, texts *tensor.Tensor) error {
	n := texts.Len()
	if texts.DType() != tensor.String || dst.DType() != tensor.Int64 || dst.Rank() != 2 || dst.Dim(0) != n || dst.Dim(1) != p.Steps {
		return fault.New("processor.bytes", fault.Invalid, "%v for texts %v", dst, texts)
	}
	out := dst.I64()
	clear(out)
	for i, text := range texts.Strings() {
		for k, b := range []byte(text[max(len(text)-p.Steps, 0):]) {
			out[i*p.Steps+k] = int64(b)
		}
	}
	return nil
}

// UnmarshalJSON is strict.
func (p *Bytes) UnmarshalJSON(text []byte) error {
	type plain Bytes // without this method
	var q plain
	d := json.NewDecoder(strings.NewReader(string(text)))
	d.DisallowUnknownFields()
	if err := d.Decode(&q); err != nil {
		return fault.Wrap(fault.JSON("", text, err), "processor.bytes", fault.Invalid, "the text processor's parameters")
	}
	*p = Bytes(q)
	return p.Validate()
}
