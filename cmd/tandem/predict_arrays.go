package main

import (
	"context"
	"errors"

	"tandem"
	"tandem/data/npz"
	"tandem/internal/client"
	"tandem/tensor"
)

// arrays runs the model on a file of NumPy's.
func (c *predictCmd) arrays(ctx context.Context, a *app) error {
	if len(c.Input) != 1 {
		return usage("one %s file is one input", npzSuffix)
	}
	if c.inTable() {
		return usage("arrays are no table: %s", c.Output).with("give --output a name that ends in .npz, .jsonl or .txt")
	}
	arrays, err := readArrays(c.Input[0])
	if err != nil {
		return err
	}
	out, err := c.runArrays(ctx, a, arrays)
	if err != nil {
		return err
	}
	if c.written == formArrays {
		return writeArrays(c.Output, out)
	}
	return c.to(a, func(a *app) error { return printArrays(a, out) })
}

// runArrays runs an ONNX file as it is, and everything else as pictures are run.
func (c *predictCmd) runArrays(ctx context.Context, a *app, arrays []npz.Array) (_ []npz.Array, err error) {
	if isONNX(c.Model) {
		threads, err := threadsOr(c.Threads)
		if err != nil {
			return nil, err
		}
		form, err := c.form()
		if err != nil {
			return nil, err
		}
		m, err := tandem.Open(c.Model, tandem.Options{Threads: threads, Precision: form, PackedDir: packedDir(a.getenv)})
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, m.Close()) }()
		in, err := bindArrays(m, c.Input[0], arrays)
		if err != nil {
			return nil, err
		}
		list := make([]*tensor.Tensor, len(m.Outputs()))
		if err := m.RunInto(ctx, in, list); err != nil {
			return nil, err
		}
		out := make([]npz.Array, len(list))
		for i, p := range m.Outputs() {
			out[i] = npz.Array{Name: p.Name, Tensor: list[i]}
		}
		return out, nil
	}
	t, closeTarget, err := c.open(ctx, a)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, closeTarget()) }()
	in := make([]client.Named, len(arrays))
	for i, x := range arrays {
		in[i] = client.Named{Name: x.Name, Tensor: x.Tensor}
	}
	got, err := t.client.Infer(ctx, t.ref.name, t.ref.version, in)
	if err != nil {
		if t.local {
			err = ownFault(err)
		}
		return nil, err
	}
	out := make([]npz.Array, len(got))
	for i, x := range got {
		out[i] = npz.Array{Name: x.Name, Tensor: x.Tensor}
	}
	return out, nil
}
