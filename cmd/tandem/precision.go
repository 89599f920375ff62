package main

import "tandem/graph/precision"

// precisionFlag rounds a model as it is opened.
type precisionFlag struct {
	Precision string `help:"Round the model as it is opened: bf16, int8, int8-weights or int4-weights. tandem quantize tells what that costs, and keeps the result." placeholder:"NAME"`
}

// form is what the flag says; "" if it is not given.
func (f precisionFlag) form() (precision.Form, error) {
	if f.Precision == "" {
		return "", nil
	}
	return precision.Parse(f.Precision)
}
