package client

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"tandem/fault"
	"tandem/tensor"
)

// Named is a tensor of a request or an answer.
type Named struct {
	Name   string
	Tensor *tensor.Tensor
}

// maxAnswerBytes bounds the answer to a request for inference.
const maxAnswerBytes = 1 << 30

// datatypes pairs the protocol's names with element types.
var datatypes = [...]struct {
	name string
	d    tensor.DType
}{
	{"BOOL", tensor.Bool}, {"UINT8", tensor.Uint8}, {"UINT16", tensor.Uint16}, {"UINT32", tensor.Uint32}, {"UINT64", tensor.Uint64},
	{"INT8", tensor.Int8}, {"INT16", tensor.Int16}, {"INT32", tensor.Int32}, {"INT64", tensor.Int64},
	{"FP16", tensor.Float16}, {"BF16", tensor.BFloat16}, {"FP32", tensor.Float32}, {"FP64", tensor.Float64},
	{"BYTES", tensor.String},
}

type wireTensor struct {
	Name       string         `json:"name"`
	Datatype   string         `json:"datatype"`
	Shape      []int          `json:"shape"`
	Parameters map[string]any `json:"parameters,omitempty"`
}

type wireRequest struct {
	Inputs     []wireTensor   `json:"inputs"`
	Parameters map[string]any `json:"parameters"`
}

type wireAnswer struct {
	Outputs []struct {
		Name       string `json:"name"`
		Datatype   string `json:"datatype"`
		Shape      []int  `json:"shape"`
		Parameters struct {
			BinaryDataSize *int `json:"binary_data_size"`
		} `json:"parameters"`
	} `json:"outputs"`
}

// inferPath is the URL of a model, or of a version of it if version is not 0.
func inferPath(name string, version int) string {
	path := "/v2/models/" + url.PathEscape(name)
	if version > 0 {
		path += "/versions/" + strconv.Itoa(version)
	}
	return path
}

// Infer runs a model; version 0 is the one that serves. Tensors travel in binary form.
func (c *Client) Infer(ctx context.Context, name string, version int, inputs []Named) ([]Named, error) {
	const op = "client.infer"
	q := wireRequest{Parameters: map[string]any{"binary_data_output": true}}
	var data []byte
	for _, in := range inputs {
		datatype, ok := datatypeOf(in.Tensor.DType())
		if !ok {
			return nil, fault.New(op, fault.Unsupported, "input %q: tensors of %v cannot be sent", in.Name, in.Tensor.DType())
		}
		b := in.Tensor.Bytes()
		for _, s := range in.Tensor.Strings() {
			b = append(binary.LittleEndian.AppendUint32(b, uint32(len(s))), s...)
		}
		q.Inputs = append(q.Inputs, wireTensor{in.Name, datatype, in.Tensor.Shape(), map[string]any{"binary_data_size": len(b)}})
		data = append(data, b...)
	}
	head, err := json.Marshal(q)
	if err != nil {
		return nil, fault.From(err, op)
	}
	header := http.Header{"Content-Type": {"application/octet-stream"}, headerLength: {strconv.Itoa(len(head))}}
	body := append(head, data...)
	r, err := c.do(ctx, op, "POST", inferPath(name, version)+"/infer", header, bytes.NewReader(body), int64(len(body)))
	if err != nil {
		return nil, err
	}
	defer r.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(r.Body, maxAnswerBytes))
	if err != nil {
		return nil, fault.From(err, op)
	}
	out, err := parseAnswer(answer, r.Header.Get(headerLength))
	if err != nil {
		return nil, fault.Wrap(err, op, fault.Unavailable, "the answer of %s is not understood", c.base)
	}
	return out, nil
}

func parseAnswer(answer []byte, length string) ([]Named, error) {
	split := len(answer)
	if length != "" {
		n, err := strconv.Atoi(length)
		if err != nil || n < 0 || n > len(answer) {
			return nil, fmt.Errorf("a header of %q bytes", length)
		}
		split = n
	}
	var a wireAnswer
	if err := json.Unmarshal(answer[:split], &a); err != nil {
		return nil, err
	}
	data := answer[split:]
	var out []Named
	for _, o := range a.Outputs {
		d, ok := dtypeOf(o.Datatype)
		size := o.Parameters.BinaryDataSize
		if !ok || size == nil || *size < 0 || *size > len(data) {
			return nil, fmt.Errorf("output %q of datatype %q has no binary data", o.Name, o.Datatype)
		}
		t, err := tensorOf(d, data[:*size], o.Shape)
		if err != nil {
			return nil, fmt.Errorf("output %q: %w", o.Name, err)
		}
		data = data[*size:]
		out = append(out, Named{o.Name, t})
	}
	return out, nil
}

// tensorOf copies elements out of an answer. Strings each follow their length, in four
// bytes.
func tensorOf(d tensor.DType, data []byte, shape tensor.Shape) (*tensor.Tensor, error) {
	if d != tensor.String {
		aligned := tensor.AlignedBytes(len(data))
		copy(aligned, data)
		return tensor.FromBytes(d, aligned, shape...)
	}
	n, err := shape.CheckedLen(len(data) / 4)
	if err != nil {
		return nil, err
	}
	list := make([]string, n)
	for i := range list {
		if len(data) < 4 || uint64(binary.LittleEndian.Uint32(data)) > uint64(len(data)-4) {
			return nil, fmt.Errorf("string %d is longer than the data", i)
		}
		end := 4 + int(binary.LittleEndian.Uint32(data))
		list[i], data = string(data[4:end]), data[end:]
	}
	return tensor.OfStrings(list, shape...), nil
}

// InferJSON sends a request of the protocol as it is, and gives the answer as it is.
func (c *Client) InferJSON(ctx context.Context, name string, version int, request []byte) ([]byte, error) {
	const op = "client.inferJSON"
	header := http.Header{"Content-Type": {"application/json"}}
	r, err := c.do(ctx, op, "POST", inferPath(name, version)+"/infer", header, bytes.NewReader(request), int64(len(request)))
	if err != nil {
		return nil, err
	}
	defer r.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(r.Body, maxAnswerBytes))
	return answer, fault.From(err, op)
}

func datatypeOf(d tensor.DType) (string, bool) {
	for _, t := range datatypes {
		if t.d == d {
			return t.name, true
		}
	}
	return "", false
}

func dtypeOf(name string) (tensor.DType, bool) {
	for _, t := range datatypes {
		if t.name == name {
			return t.d, true
		}
	}
	return tensor.Undefined, false
}
