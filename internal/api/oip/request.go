package oip

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"tandem/fault"
	"tandem/internal/serve"
	"tandem/tensor"
)

// inferRequest is a parsed request. Tensors may borrow the body's bytes.
type inferRequest struct {
	id         string
	hasID      bool
	timeout    time.Duration // 0: the server's
	binary     bool          // form of outputs that do not say
	inputs     []serve.Input
	outputs    []wantedOutput
	hasOutputs bool // else all of them
}

type wantedOutput struct {
	name   string
	binary *bool
}

// pendingInput is an input whose data follows the JSON, or was before its datatype.
type pendingInput struct {
	name     string
	dtype    tensor.DType
	shape    tensor.Shape
	hasShape bool
	dataAt   int   // offset of data that could not be read yet; 0: none
	size     int64 // binary_data_size; -1: none
	tensor   *tensor.Tensor
}

// parseInfer reads a request: JSON, then raw bytes for the inputs that ask for them.
func parseInfer(header, raw []byte) (*inferRequest, error) {
	s := &scanner{b: header}
	q := &inferRequest{}
	var inputs []pendingInput
	var given givenFields
	err := s.fields(func(name []byte) (err error) {
		f, err := given.fate(InRequest, name)
		if err != nil {
			return err
		}
		switch f.Name {
		case "id":
			q.hasID = true
			q.id, err = s.name("id")
		case "inputs":
			inputs, err = s.inputs()
		case "outputs":
			q.hasOutputs = true
			q.outputs, err = s.outputs()
		case "parameters":
			err = s.requestParameters(q)
		default:
			_, err = s.scalar()
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if s.peek(); s.i != len(s.b) {
		return nil, s.fail("%q after the end of the JSON", s.b[s.i])
	}
	if inputs == nil {
		return nil, invalid("the request has no inputs")
	}
	q.inputs = make([]serve.Input, len(inputs))
	for i := range inputs {
		p := &inputs[i]
		if p.size >= 0 {
			if p.size > int64(len(raw)) {
				return nil, invalid("input %q: binary_data_size is %d, and %d bytes are left of the body", p.name, p.size, len(raw))
			}
			if p.tensor, err = tensorBinary(p.name, p.dtype, p.shape, raw[:p.size]); err != nil {
				return nil, err
			}
			raw = raw[p.size:]
		}
		q.inputs[i] = serve.Input{Name: p.name, Tensor: p.tensor}
	}
	if len(raw) > 0 {
		return nil, invalid("the body has %d bytes more than the inputs' binary_data_size says", len(raw))
	}
	return q, nil
}

// name reads a string that is kept, of bounded length.
func (s *scanner) name(what string) (string, error) {
	text, err := s.text()
	if err != nil {
		return "", err
	}
	if len(text) > maxStringBytes {
		return "", fault.New("oip.request", fault.TooLarge, "%s has %d bytes: the limit is %d", what, len(text), maxStringBytes)
	}
	return string(text), nil
}

func tooMany(what string) error {
	return fault.New("oip.request", fault.TooLarge, "the request has more than %d %s", maxRequestItems, what)
}

func (s *scanner) requestParameters(q *inferRequest) error {
	return s.parameters(InParameters, func(name string, value any) error {
		switch name {
		case "binary_data_output":
			b, ok := value.(bool)
			if !ok {
				return invalid("parameter %q is %v: expected true or false", name, value)
			}
			q.binary = b
		case "timeout":
			us, ok := value.(int64)
			if !ok || us < 0 {
				return invalid("parameter %q is %v: expected a number of microseconds", name, value)
			}
			q.timeout = time.Duration(min(us, int64(time.Hour/time.Microsecond))) * time.Microsecond
		}
		return nil
	})
}

// parameters reads an object of scalars and passes on those that are honoured.
func (s *scanner) parameters(place Place, honour func(name string, value any) error) error {
	var given givenFields
	return s.fields(func(raw []byte) error {
		f, err := given.fate(place, raw)
		if err != nil {
			return err
		}
		value, err := s.scalar()
		if err != nil || f.Fate != Honoured {
			return err
		}
		return honour(f.Name, value)
	})
}

func (s *scanner) inputs() ([]pendingInput, error) {
	all := []pendingInput{}
	err := s.items(func() error {
		if len(all) >= maxRequestItems {
			return tooMany("inputs")
		}
		p, err := s.input()
		all = append(all, p)
		return err
	})
	return all, err
}

func (s *scanner) input() (pendingInput, error) {
	p := pendingInput{size: -1}
	var given givenFields
	err := s.fields(func(name []byte) (err error) {
		f, err := given.fate(InInput, name)
		if err != nil {
			return err
		}
		switch f.Name {
		case "name":
			p.name, err = s.name("the name of an input")
		case "datatype":
			p.dtype, err = s.datatype(p.name)
		case "shape":
			p.hasShape = true
			p.shape, err = s.shape(p.name)
		case "parameters":
			err = s.inputParameters(&p)
		case "data":
			err = s.data(&p)
		}
		return err
	})
	if err != nil {
		return p, err
	}
	return p, s.complete(&p)
}

// data reads elements if their type and shape are known already, as all clients send
// them; else it remembers where they are.
func (s *scanner) data(p *pendingInput) (err error) {
	if p.name != "" && p.dtype != tensor.Undefined && p.hasShape {
		p.tensor, err = s.tensorJSON(p.name, p.dtype, p.shape)
		return err
	}
	s.peek()
	p.dataAt = s.i
	return s.skip()
}

// complete checks that an input has all that it needs, and reads data that came first.
func (s *scanner) complete(p *pendingInput) (err error) {
	switch {
	case p.name == "":
		return invalid("an input has no name")
	case p.dtype == tensor.Undefined:
		return invalid("input %q has no datatype", p.name)
	case !p.hasShape:
		return invalid("input %q has no shape", p.name)
	case p.dataAt > 0:
		later := &scanner{b: s.b, i: p.dataAt}
		p.tensor, err = later.tensorJSON(p.name, p.dtype, p.shape)
		if err != nil {
			return err
		}
	}
	switch {
	case p.tensor == nil && p.size < 0:
		return invalid("input %q has neither data nor the parameter binary_data_size", p.name)
	case p.tensor != nil && p.size >= 0:
		return invalid("input %q has both data and the parameter binary_data_size", p.name)
	}
	return nil
}

func (s *scanner) datatype(input string) (tensor.DType, error) {
	text, err := s.text()
	if err != nil {
		return 0, err
	}
	d, ok := dtypeOf(text)
	if !ok {
		return 0, invalid("input %q: %.40q is not a datatype", input, text)
	}
	return d, nil
}

func (s *scanner) shape(input string) (tensor.Shape, error) {
	shape := tensor.Shape{}
	err := s.items(func() error {
		n, ok := s.integer()
		if !ok || n < 0 || n > 1<<40 {
			return invalid("input %q: dimension %d of its shape is not a size", input, len(shape))
		}
		if shape = append(shape, int(n)); len(shape) > maxRank {
			return fault.New("oip.request", fault.TooLarge, "input %q has more than %d dimensions", input, maxRank)
		}
		return nil
	})
	if err == nil {
		err = checkEmpty(input, shape)
	}
	return shape, err
}

// maxEmpty bounds the other dimensions of a tensor that has one of 0. There is nothing
// of it in the body that would: and what a model gives for it may have those alone.
const maxEmpty = 1 << 20

func checkEmpty(input string, shape tensor.Shape) error {
	if !slices.Contains(shape, 0) {
		return nil
	}
	others := slices.Clone(shape)
	for i := range others {
		others[i] = max(others[i], 1)
	}
	if _, err := others.CheckedLen(maxEmpty); err != nil {
		return invalid("input %q: shape %s has no elements and other dimensions of more than %d together", input, dims(shape), maxEmpty)
	}
	return nil
}

func (s *scanner) inputParameters(p *pendingInput) error {
	return s.parameters(InInputParams, func(name string, value any) error {
		size, ok := value.(int64)
		if !ok || size < 0 {
			return invalid("parameter %q is %v: expected a number of bytes", name, value)
		}
		p.size = size
		return nil
	})
}

func (s *scanner) outputs() ([]wantedOutput, error) {
	var all []wantedOutput
	err := s.items(func() error {
		if len(all) >= maxRequestItems {
			return tooMany("outputs")
		}
		var o wantedOutput
		var given givenFields
		err := s.fields(func(name []byte) (err error) {
			f, err := given.fate(InOutput, name)
			if err != nil {
				return err
			}
			switch f.Name {
			case "name":
				o.name, err = s.name("the name of an output")
			case "parameters":
				err = s.outputParameters(&o)
			case "shape", "data":
				s.peek()
				start := s.i
				if err = s.skip(); err == nil && !json.Valid(s.b[start:s.i]) {
					err = s.fail("field %q is not JSON", f.Name)
				}
			default:
				_, err = s.scalar()
			}
			return err
		})
		if err == nil && o.name == "" {
			err = invalid("an output has no name")
		}
		all = append(all, o)
		return err
	})
	return all, err
}

func (s *scanner) outputParameters(o *wantedOutput) error {
	return s.parameters(InOutputParams, func(name string, value any) error {
		b, ok := value.(bool)
		if !ok {
			return invalid("parameter %q is %v: expected true or false", name, value)
		}
		o.binary = &b
		return nil
	})
}

// dims prints a shape as the protocol writes it: [-1,4].
func dims(shape []int) string {
	return strings.ReplaceAll(fmt.Sprint(shape), " ", ",")
}
