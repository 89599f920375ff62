package oip

import (
	"encoding/binary"
	"math"
	"strconv"
	"unicode/utf8"

	"tandem/fault"
	"tandem/internal/serve"
	"tandem/model"
	"tandem/tensor"
)

// appendResponse writes an answer: JSON of headerBytes, then the raw bytes of outputs
// in binary form.
func appendResponse(b []byte, q *inferRequest, name string, a *serve.Answer, limitBytes int64) (body []byte, headerBytes int, binary bool, err error) {
	wanted, err := q.wanted(a.Signature.Outputs) // of the version that answered
	if err != nil {
		return nil, 0, false, err
	}
	if err := checkSize(wanted, a.Outputs, limitBytes); err != nil {
		return nil, 0, false, err
	}
	b = append(b, `{"model_name":`...)
	b = appendString(b, name)
	b = append(b, `,"model_version":"`...)
	b = strconv.AppendInt(b, int64(a.Version), 10)
	b = append(b, '"')
	if q.hasID {
		b = append(b, `,"id":`...)
		b = appendString(b, q.id)
	}
	b = append(b, `,"outputs":[`...)
	for i, w := range wanted {
		if i > 0 {
			b = append(b, ',')
		}
		if b, err = appendOutput(b, a.Signature.Outputs[w.index].Name, a.Outputs[w.index], w.binary); err != nil {
			return nil, 0, false, err
		}
		binary = binary || w.binary
	}
	b = append(b, `]}`...)
	headerBytes = len(b)
	for _, w := range wanted {
		if w.binary {
			b = appendRaw(b, a.Outputs[w.index])
		}
	}
	return b, headerBytes, binary, nil
}

// jsonFactor is about how much longer a tensor is in JSON.
const jsonFactor = 4

// checkSize refuses an answer that is too large to be written: what a model gives for a
// small request may be of any size.
func checkSize(wanted []indexed, outputs []*tensor.Tensor, limitBytes int64) error {
	var bytes int64
	for _, w := range wanted {
		n := int64(rawSize(outputs[w.index]))
		if !w.binary {
			n *= jsonFactor
		}
		if bytes += n; bytes > limitBytes {
			return fault.New("oip.response", fault.TooLarge, "the answer takes %d bytes or more: the limit is %d", bytes, limitBytes).
				Try("send fewer rows in one request, ask for fewer outputs, or for binary data")
		}
	}
	return nil
}

type indexed struct {
	index  int
	binary bool
}

// wanted lists the outputs to send, in the order that the request names them.
func (q *inferRequest) wanted(specs []model.TensorSpec) ([]indexed, error) {
	all := make([]indexed, 0, len(specs))
	if !q.hasOutputs || len(q.outputs) == 0 {
		for i := range specs {
			all = append(all, indexed{i, q.binary})
		}
		return all, nil
	}
	for _, o := range q.outputs {
		index := -1
		for i := range specs {
			if specs[i].Name == o.name {
				index = i
			}
		}
		if index < 0 {
			return nil, invalid("the model has no output %q: its outputs are %s", o.name, outputNames(specs))
		}
		for _, before := range all {
			if before.index == index {
				return nil, invalid("output %q is asked for twice", o.name)
			}
		}
		w := indexed{index, q.binary}
		if o.binary != nil {
			w.binary = *o.binary
		}
		all = append(all, w)
	}
	return all, nil
}

func outputNames(specs []model.TensorSpec) string {
	var b []byte
	for i, s := range specs {
		if i > 0 {
			b = append(b, ", "...)
		}
		b = strconv.AppendQuote(b, s.Name)
	}
	return string(b)
}

func appendOutput(b []byte, name string, t *tensor.Tensor, inBinary bool) ([]byte, error) {
	datatype := datatypeOf(t.DType())
	if _, ok := dtypeOf([]byte(datatype)); !ok {
		return nil, unsupported("output %q is %v, which the protocol cannot carry", name, t.DType()).Try("ask for the other outputs by name")
	}
	b = append(b, `{"name":`...)
	b = appendString(b, name)
	b = append(b, `,"datatype":"`...)
	b = append(b, datatype...)
	b = append(b, `","shape":[`...)
	for i, d := range t.Shape() {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(b, int64(d), 10)
	}
	if inBinary {
		b = append(b, `],"parameters":{"binary_data_size":`...)
		b = strconv.AppendInt(b, int64(rawSize(t)), 10)
		return append(b, "}}"...), nil
	}
	b = append(b, `],"data":[`...)
	b, err := appendData(b, name, t)
	return append(b, "]}"...), err
}

func unsupported(format string, args ...any) *fault.Error {
	return fault.New("oip.response", fault.Unsupported, format, args...)
}

// askBinary is the remedy for what JSON cannot carry.
const askBinary = "ask for the output with the parameter binary_data: true"

func appendData(b []byte, name string, t *tensor.Tensor) ([]byte, error) {
	switch t.DType() {
	case tensor.Float32:
		return appendFloats(b, name, tensor.Data[float32](t), 32)
	case tensor.Float64:
		return appendFloats(b, name, tensor.Data[float64](t), 64)
	case tensor.Int64:
		return appendInts(b, tensor.Data[int64](t)), nil
	case tensor.Int32:
		return appendInts(b, tensor.Data[int32](t)), nil
	case tensor.Int16:
		return appendInts(b, tensor.Data[int16](t)), nil
	case tensor.Int8:
		return appendInts(b, tensor.Data[int8](t)), nil
	case tensor.Uint8:
		return appendInts(b, tensor.Data[uint8](t)), nil
	case tensor.Uint16:
		return appendInts(b, tensor.Data[uint16](t)), nil
	case tensor.Uint32:
		return appendInts(b, tensor.Data[uint32](t)), nil
	case tensor.Uint64:
		for i, v := range tensor.Data[uint64](t) {
			b = strconv.AppendUint(comma(b, i), v, 10)
		}
		return b, nil
	case tensor.Bool:
		for i, v := range tensor.Data[bool](t) {
			b = strconv.AppendBool(comma(b, i), v)
		}
		return b, nil
	case tensor.String:
		for i, v := range t.Strings() {
			if !utf8.ValidString(v) {
				return nil, unsupported("output %q: element %d is not UTF-8, which JSON cannot carry", name, i).Try(askBinary)
			}
			b = appendString(comma(b, i), v)
		}
		return b, nil
	}
	return nil, unsupported("output %q is %s, which JSON cannot carry", name, datatypeOf(t.DType())).Try(askBinary)
}

func comma(b []byte, i int) []byte {
	if i > 0 {
		return append(b, ',')
	}
	return b
}

func appendInts[T int8 | int16 | int32 | int64 | uint8 | uint16 | uint32](b []byte, data []T) []byte {
	for i, v := range data {
		b = strconv.AppendInt(comma(b, i), int64(v), 10)
	}
	return b
}

// appendFloats writes the shortest digits that read back as the same number.
func appendFloats[T float32 | float64](b []byte, name string, data []T, bits int) ([]byte, error) {
	for i, v := range data {
		b = comma(b, i)
		f := float64(v)
		switch {
		case math.IsNaN(f):
			b = append(b, "null"...)
		case math.IsInf(f, 0):
			return nil, unsupported("output %q: element %d is %v, which JSON cannot carry", name, i, f).Try(askBinary)
		default:
			b = strconv.AppendFloat(b, f, 'g', -1, bits)
		}
	}
	return b, nil
}

func rawSize(t *tensor.Tensor) int {
	if t.DType() != tensor.String {
		return len(t.Bytes())
	}
	n := 0
	for _, s := range t.Strings() {
		n += 4 + len(s)
	}
	return n
}

func appendRaw(b []byte, t *tensor.Tensor) []byte {
	if t.DType() != tensor.String {
		return append(b, t.Bytes()...)
	}
	for _, s := range t.Strings() {
		b = binary.LittleEndian.AppendUint32(b, uint32(len(s)))
		b = append(b, s...)
	}
	return b
}

// appendString writes a JSON string; s is UTF-8, or what is not is replaced.
func appendString(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' && c < utf8.RuneSelf {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && size == 1 {
				b = append(b, s[start:i]...)
				b = append(b, "\ufffd"...)
				start = i + 1
			}
			i += size
			continue
		}
		b = append(b, s[start:i]...)
		if c == '"' || c == '\\' {
			b = append(b, '\\', c)
		} else {
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
		i++
		start = i
	}
	b = append(b, s[start:]...)
	return append(b, '"')
}
