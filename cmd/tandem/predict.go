package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"path/filepath"
	"slices"
	"strconv"

	"tandem/fault"
	"tandem/internal/client"
	"tandem/model"
	"tandem/processor"
	"tandem/tensor"
)

// maxInputBytes bounds an input file.
const maxInputBytes = 1 << 30

// predictCmd is `tandem predict`.
type predictCmd struct {
	Model  string   `arg:"" placeholder:"NAME[:VERSION]|PATH" help:"Model that serves, directory of a run or of a model, or an .onnx file."`
	Input  []string `help:"Pictures (PNG, JPEG, GIF), rows (CSV, or a JSON object a line), texts to go on with, tensors by name in NumPy's .npz format, or one request of the Open Inference Protocol in JSON; - is standard input. May be given more than once." placeholder:"FILE" default:"-" sep:"none"`
	Output string   `help:"File for the answer; its name says in what form: .csv, .tsv, .jsonl, .txt as it is shown, or .npz if the input is. Without it: standard output." placeholder:"FILE"`
	Top    int      `help:"How many labels to show for a picture." placeholder:"N" default:"3"`
	precisionFlag
	Threads int `help:"Threads that compute, for a model on this machine. Without it: all processors." placeholder:"N"`

	Tokens      int     `help:"How many bytes to write on a text with." placeholder:"N" default:"200"`
	Temperature float64 `help:"How freely what follows a text is chosen; 0 is the most probable always." placeholder:"T" default:"1"`
	Seed        uint64  `help:"Repeat what was drawn with this seed." placeholder:"N" default:"1"`

	written answerForm // how the answer is
}

// target is a model that can be run, here or on a server.
type target struct {
	client *client.Client
	ref    modelRef
	local  bool
	intake func() (client.Intake, error)
}

// Run predicts.
func (c *predictCmd) Run(ctx context.Context, a *app) (err error) {
	if c.Top < 1 {
		return usage("%s is %d, it must be at least 1", "--top", c.Top)
	}
	if err := c.checkText(); err != nil {
		return err
	}
	if c.written, err = formOf(c.Output, a.json); err != nil {
		return err
	}
	for _, path := range c.Input {
		if c.Output != "" && same(path, c.Output) {
			return usage("%s would replace its own source", c.Output).with("give another --output")
		}
	}
	if len(c.Input) == 1 && c.Input[0] == "-" && terminal(a.in) {
		return usage("there is no input").with("tandem predict " + c.Model + " --input FILE")
	}
	if isNPZ(c.Input[0]) && (isONNX(c.Model) || c.Precision == "") {
		return c.arrays(ctx, a)
	}
	if c.Precision != "" {
		return usage("%s is for tensors in %s and an %s file", "--precision", npzSuffix, onnxSuffix).with("tandem quantize " + c.Model + " --precision int8 --output DIR")
	}
	if c.written == formArrays {
		return usage("an answer in %s is given to an input in %s", npzSuffix, npzSuffix)
	}
	var inputs [][]byte
	for _, path := range c.Input {
		data, err := a.read(path, maxInputBytes)
		if err != nil {
			return err
		}
		inputs = append(inputs, data)
	}
	t, closeTarget, err := c.open(ctx, a)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeTarget()) }()
	return c.to(a, func(a *app) error { return c.answer(ctx, a, t, inputs) })
}

// to calls print with the output that was asked for.
func (c *predictCmd) to(a *app, print func(*app) error) error {
	if c.Output == "" {
		return print(a)
	}
	return writeFile(c.Output, func(f io.Writer) error {
		to := *a
		to.out, to.json = f, c.written == formJSON
		return print(&to)
	})
}

// answer runs the model on a request or on pictures.
func (c *predictCmd) answer(ctx context.Context, a *app, t target, inputs [][]byte) error {
	if len(inputs) == 1 && isRequest(inputs[0]) {
		if c.inTable() {
			return usage("an answer to a request of the Open Inference Protocol is JSON: %s", c.Output).with("give --output a name that ends in .json")
		}
		return t.requestJSON(ctx, a, inputs[0])
	}
	in, err := t.intake()
	if err != nil {
		return err
	}
	m := &in.Intake
	t.ref.version = in.Version // another that takes its place would be asked in the wrong way
	switch {
	case m.Kind == model.KindLanguage:
		err = c.noLanguage()
	case m.Rows != nil:
		err = c.rows(ctx, a, t, m, inputs)
	case m.Kind == model.KindText && c.inTable():
		err = usage("an answer in text is no table: %s", c.Output).with("give --output a name that ends in .txt or .jsonl")
	case m.Kind == model.KindText:
		err = c.goOn(ctx, a, t, inputs)
	case isJSON(inputs[0]):
		err = fault.New("tandem.predict", fault.Invalid, "%s is no request: it has no list \"inputs\"", c.Input[0]).Try(listInputs)
	default:
		err = c.pictures(ctx, a, t, m, inputs)
	}
	if t.local {
		err = ownFault(err)
	}
	return err
}

// open finds the model: on this machine if the argument is a path, else on the server.
func (c *predictCmd) open(ctx context.Context, a *app) (target, func() error, error) {
	if isPath(c.Model) && languageAt(c.Model) {
		return target{}, nil, c.noLanguage()
	}
	if isPath(c.Model) {
		path, remove := c.Model, func() error { return nil }
		if isONNX(path) {
			var err error
			if path, remove, err = temporaryArtifact(path, false); err != nil {
				return target{}, nil, err
			}
		}
		m, src, err := localArtifact(path)
		if err != nil {
			return target{}, nil, errors.Join(err, remove())
		}
		threads, err := threadsOr(c.Threads)
		if err != nil {
			return target{}, nil, errors.Join(err, remove())
		}
		l, local, err := openLocal(ctx, m, src, threads)
		if err != nil {
			return target{}, nil, errors.Join(err, remove())
		}
		return target{
			client: local, ref: modelRef{name: localName}, local: true,
			intake: func() (client.Intake, error) {
				in, err := model.IntakeOf(m, src)
				if err != nil {
					return client.Intake{}, err
				}
				return client.Intake{Intake: *in}, nil
			},
		}, func() error { return errors.Join(l.close(ctx), remove()) }, nil
	}
	r, err := parseRef(c.Model)
	if err != nil {
		return target{}, nil, err
	}
	server, err := a.client()
	if err != nil {
		return target{}, nil, err
	}
	return target{
		client: server, ref: r,
		intake: func() (client.Intake, error) { return server.Intake(ctx, r.name, r.version) },
	}, func() error { return nil }, nil
}

// listInputs is the remedy where a model takes tensors and something else was given.
const listInputs = "send a request of the Open Inference Protocol in JSON, or tensors in .npz: tandem models show NAME:VERSION and tandem inspect PATH list the inputs"

func (c *predictCmd) noLanguage() error {
	return fault.New("tandem.predict", fault.Unsupported, "this model generates text").Try("tandem chat " + c.Model)
}

func noPictures() error {
	return fault.New("tandem.predict", fault.Unsupported, "the model takes tensors, not pictures").Try(listInputs)
}

// requestJSON passes a request on, and prints the answer as it comes.
func (t target) requestJSON(ctx context.Context, a *app, request []byte) error {
	answer, err := t.client.InferJSON(ctx, t.ref.name, t.ref.version, request)
	if err != nil {
		if t.local {
			return ownFault(err)
		}
		return err
	}
	_, err = io.Copy(a.out, bytes.NewReader(append(bytes.TrimSpace(answer), '\n')))
	return fault.From(err, "tandem.print")
}

// scored is a label and its probability.
type scored struct {
	Label       string  `json:"label"`
	Probability float64 `json:"probability"`
}

// pictures decodes, runs and prints.
func (c *predictCmd) pictures(ctx context.Context, a *app, t target, m *model.Intake, inputs [][]byte) error {
	image := m.Image
	if image == nil {
		return noPictures()
	}
	batch := tensor.New(tensor.Uint8, len(inputs), image.Height, image.Width, image.Channels)
	for i, data := range inputs {
		pixels, err := image.Decode(bytes.NewReader(data), processor.DefaultLimits())
		if err != nil {
			return fault.Wrap(err, "tandem.predict", fault.KindOf(err), "%s", c.Input[i]).Try(fault.RemedyOf(err))
		}
		copy(batch.Rows(i, i+1).Bytes(), pixels.Bytes())
	}
	out, err := t.client.Infer(ctx, t.ref.name, t.ref.version, []client.Named{{Name: model.ImageInput, Tensor: batch}})
	if err != nil {
		return err
	}
	if len(out) == 0 || out[0].Tensor.DType() != tensor.Float32 || out[0].Tensor.Rank() != 2 || out[0].Tensor.Dim(0) != len(inputs) {
		return fault.New("tandem.predict", fault.Unsupported, "the model does not give one list of scores for each picture").
			Try("send a request of the Open Inference Protocol in JSON, and read its outputs")
	}
	return c.print(a, out[0].Tensor, m.Labels)
}

// inTable reports whether the answer is a table for programs.
func (c *predictCmd) inTable() bool { return c.written == formCSV || c.written == formTSV }

func (c *predictCmd) print(a *app, scores *tensor.Tensor, labels []string) error {
	var rows [][]string
	out := newRecords(a.out, c.written)
	if c.inTable() {
		out.put("input", "label", "probability")
	}
	for i, path := range c.Input {
		best := top(scores.Rows(i, i+1).F32(), labels, c.Top)
		if a.json {
			if err := a.emit(struct {
				Input  string   `json:"input"`
				Label  string   `json:"label"`
				Labels []scored `json:"labels"`
			}{path, best[0].Label, best}); err != nil {
				return err
			}
		}
		name := filepath.Base(path)
		for _, s := range best {
			if c.inTable() {
				out.put(path, s.Label, exact(s.Probability))
			}
			rows = append(rows, []string{name, s.Label, strconv.FormatFloat(s.Probability, 'f', 4, 64)})
			name = ""
		}
	}
	if a.json || c.inTable() {
		return out.err
	}
	return a.table([]string{"INPUT", "LABEL", "PROBABILITY"}, rows)
}

// exact writes a float32 so that it is read back as it was.
func exact(v float64) string { return strconv.FormatFloat(v, 'g', -1, 32) }

// top are the n best scores, the best first.
func top(scores []float32, labels []string, n int) []scored {
	all := make([]scored, len(scores))
	for i, v := range scores {
		all[i] = scored{strconv.Itoa(i), float64(v)}
		if i < len(labels) {
			all[i].Label = labels[i]
		}
	}
	slices.SortStableFunc(all, func(a, b scored) int { return cmp.Compare(b.Probability, a.Probability) })
	return all[:min(n, len(all))]
}
