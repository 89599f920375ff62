package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"tandem/data"
	"tandem/data/mnist"
	"tandem/family"
	"tandem/fault"
	"tandem/graph/op"
	"tandem/internal/client"
	"tandem/internal/serve"
	"tandem/kernel"
	"tandem/model"
	"tandem/tensor"
	"tandem/train"
)

// demoCmd is `tandem demo`.
type demoCmd struct {
	Epochs       int     `help:"Passes over the training set." placeholder:"N" default:"3"`
	Seed         uint64  `help:"Seed: the same one gives the same weights." placeholder:"N" default:"1"`
	LimitRows    int     `help:"Use only the first N examples for training and for testing: for a quick look." placeholder:"N"`
	Threads      int     `help:"Threads that compute. Without it: all processors." placeholder:"N"`
	Keep         string  `help:"Leave data, run, exported model and a request in this directory." placeholder:"DIR"`
	BuildSeconds float64 `help:"How long the program took to compile, for the report." hidden:""`
}

// How the test images are sent.
const (
	demoName        = "mnist"
	demoConnections = 4
	demoRows        = 100 // of one request
)

// What --keep leaves, beside what a server has in its data directory.
const (
	runFolder   = "run"
	exportFile  = "mnist.onnx"
	requestFile = "request.json"
	keyFile     = "key.header" // as curl -H takes it
)

// demoResult is what the demo measures.
type demoResult struct {
	Event         string  `json:"event"`
	Accuracy      float64 `json:"accuracy"`
	Images        int     `json:"images"`
	TrainRate     float64 `json:"train_images_per_s"`
	ServeRate     float64 `json:"serve_images_per_s"`
	BuildSeconds  float64 `json:"build_s,omitempty"`
	TrainSeconds  float64 `json:"train_s"`
	ServeSeconds  float64 `json:"serve_s"`
	Model         string  `json:"model"`
	Digest        string  `json:"digest"`
	Kept          string  `json:"kept,omitempty"`
	trainedImages int
}

// demo is one that runs.
type demo struct {
	*demoCmd
	a       *app
	dir     string
	threads int
	result  demoResult
}

// Run trains the network on MNIST, serves it, and asks the server about every test image.
func (c *demoCmd) Run(ctx context.Context, a *app) (err error) {
	d := &demo{demoCmd: c, a: a, result: demoResult{Event: "result", BuildSeconds: c.BuildSeconds}}
	if d.threads, err = threadsOr(c.Threads); err != nil {
		return err
	}
	leaveProcessorForNetwork(d.threads)
	cleanUp, err := d.place()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cleanUp()) }()
	if err := d.train(ctx); err != nil {
		return err
	}
	if err := d.serve(ctx); err != nil {
		return err
	}
	return d.report()
}

// place makes the directory: one that goes when the demo ends, or the one to keep.
func (d *demo) place() (cleanUp func() error, err error) {
	const op = "tandem.demo"
	if d.Keep == "" {
		if d.dir, err = os.MkdirTemp("", "tandem-demo-"); err != nil {
			return nil, fault.From(err, op)
		}
		return func() error { return fault.From(os.RemoveAll(d.dir), op) }, nil
	}
	if d.dir, err = filepath.Abs(d.Keep); err != nil {
		return nil, fault.From(err, op)
	}
	if entries, err := os.ReadDir(d.dir); err == nil && len(entries) > 0 {
		return nil, fault.New(op, fault.Conflict, "%s is not empty", d.Keep).Try("give --keep a directory that is not there yet")
	}
	return func() error { return nil }, fault.From(os.MkdirAll(d.dir, 0o755), op)
}

func (d *demo) runDir() string { return filepath.Join(d.dir, runFolder) }

// train makes the model, as tandem train would.
func (d *demo) train(ctx context.Context) error {
	spec := train.Spec{Name: demoName, Family: "vision", Data: train.DataSpec{Path: "mnist", LimitRows: d.LimitRows}}
	spec.Train.Epochs, spec.Train.Seed = d.Epochs, d.Seed
	spec.FillDefaults()
	if err := spec.Validate(); err != nil {
		return err
	}
	f, err := family.Find(&spec)
	if err != nil {
		return err
	}
	p, err := f.Prepare(ctx, spec, op.Default())
	if err != nil {
		return err
	}
	d.a.say("Training a convolutional network on %s handwritten digits (MNIST), %d threads (%s)", d.a.msg.Count(p.Train.Len()), d.threads, kernel.Detect())
	started := time.Now()
	r, err := d.a.train(ctx, p, spec, d.runDir(), d.threads, false, defaultMemoryBytes(), nil)
	if fault.KindOf(err) == fault.Canceled && d.Keep == "" { // nothing is left to resume
		return fault.New("tandem.demo", fault.Canceled, "the demo was stopped")
	}
	if err != nil {
		return err
	}
	d.result.TrainSeconds = time.Since(started).Seconds()
	d.result.trainedImages = p.Train.Len() * spec.Train.Epochs
	d.result.Digest = string(r.Artifact)
	d.result.TrainRate, err = trainingRate(d.runDir())
	return err
}

// trainingRate is in images a second, over the training steps alone: evaluation,
// checkpoints and start are not in it.
func trainingRate(dir string) (float64, error) {
	lines, err := train.ReadMetrics(dir)
	if err != nil {
		return 0, err
	}
	var steps, weighted float64 // weighted: steps over images a second
	before := 0
	for _, m := range lines {
		if m.Kind == "train" && m.RowsPerSecond > 0 {
			n := float64(m.Step - before)
			steps, weighted = steps+n, weighted+n/m.RowsPerSecond
			before = m.Step
		}
	}
	if weighted == 0 {
		return 0, nil
	}
	return steps / weighted, nil
}

// serve starts a server on a free port, gives it the model, and calls it.
func (d *demo) serve(ctx context.Context) (err error) {
	s, err := openServer(ctx, serverConfig{
		data: d.dir, addr: "127.0.0.1:0", threads: d.threads, limits: serve.DefaultLimits(),
		log: slog.New(slog.NewTextHandler(d.a.err, &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	if err != nil {
		return err
	}
	running, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- s.run(running) }()
	defer func() {
		stop()
		err = errors.Join(err, <-ended, s.close(ctx))
	}()
	c, err := client.New(client.Config{URL: s.url(), Key: s.secret})
	if err != nil {
		return err
	}
	m, src, err := localArtifact(d.runDir())
	if err != nil {
		return err
	}
	v, err := c.Push(ctx, demoName, m, src)
	if err != nil {
		return err
	}
	if _, err := c.Deploy(ctx, v.Model, v.Number); err != nil {
		return err
	}
	d.result.Model = ref(v.Model, v.Number)
	d.a.say("Serving %s at %s", d.result.Model, s.url())
	if err := d.call(ctx, c); err != nil || d.Keep == "" {
		return err
	}
	return d.keep(ctx, m, src, s)
}

// call sends every test image within the limit and counts the right answers.
func (d *demo) call(ctx context.Context, c *client.Client) error {
	_, test, _, err := mnist.Open(ctx, mnist.Options{})
	if err != nil {
		return err
	}
	if d.LimitRows > 0 {
		test = test.Slice(0, min(d.LimitRows, test.Len()))
	}
	images, labels := columns(test)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	bar := newCounter(d.a, d.a.out, d.a.msg.Sprintf("calling"), test.Len())
	defer bar.close()
	var next, right atomic.Int64
	var group sync.WaitGroup
	started := time.Now()
	for range demoConnections {
		group.Go(func() {
			for ctx.Err() == nil {
				lo := int(next.Add(demoRows)) - demoRows
				if lo >= test.Len() {
					return
				}
				hi := min(lo+demoRows, test.Len())
				n, err := askFor(ctx, c, images.Rows(lo, hi), labels[lo:hi])
				if err != nil {
					cancel(err)
					return
				}
				right.Add(int64(n))
				bar.add(hi - lo)
			}
		})
	}
	group.Wait()
	if err := context.Cause(ctx); err != nil {
		return err
	}
	took := time.Since(started).Seconds()
	d.result.Images, d.result.ServeSeconds, d.result.ServeRate = test.Len(), took, float64(test.Len())/took
	d.result.Accuracy = float64(right.Load()) / float64(test.Len())
	return nil
}

// columns are the pixels, uint8 [n,height,width,1], and the labels of a set.
func columns(set *data.Dataset) (*tensor.Tensor, []int64) {
	images, _ := set.Column("image")
	labels, _ := set.Column("label")
	return images.Reshaped(append(append([]int{}, images.Shape()...), 1)...), labels.I64()
}

// askFor sends some images and counts the right answers.
func askFor(ctx context.Context, c *client.Client, images *tensor.Tensor, labels []int64) (right int, err error) {
	out, err := c.Infer(ctx, demoName, 0, []client.Named{{Name: model.ImageInput, Tensor: images}})
	if err != nil {
		return 0, err
	}
	if len(out) != 1 || out[0].Tensor.DType() != tensor.Float32 || out[0].Tensor.Rank() != 2 || out[0].Tensor.Dim(0) != len(labels) {
		return 0, fault.New("tandem.demo", fault.Internal, "the server answered other tensors than the model gives")
	}
	for i, label := range labels {
		row := out[0].Tensor.Rows(i, i+1).F32()
		best := 0
		for k, v := range row {
			if cmp.Compare(v, row[best]) > 0 {
				best = k
			}
		}
		if int64(best) == label {
			right++
		}
	}
	return right, nil
}

// keep leaves what is needed to go on: the exported model, a request for curl, and the
// key, which this user's command line gets too.
func (d *demo) keep(ctx context.Context, m *model.Manifest, src model.Source, s *server) error {
	if _, err := model.Export(ctx, m, src, filepath.Join(d.dir, exportFile)); err != nil {
		return err
	}
	_, test, _, err := mnist.Open(ctx, mnist.Options{})
	if err != nil {
		return err
	}
	if err := writeRequest(filepath.Join(d.dir, requestFile), test); err != nil {
		return err
	}
	key := []byte("Authorization: Bearer " + s.secret + "\n")
	if err := os.WriteFile(filepath.Join(d.dir, keyFile), key, 0o600); err != nil {
		return fault.From(err, "tandem.demo")
	}
	d.result.Kept = d.dir
	saved, err := openCredentials(d.a.getenv)
	if err != nil {
		s.config.log.Warn("the key could not be kept for the command line", "error", err)
		return nil
	}
	saved.put(credential{URL: defaultURL, Data: s.config.data, Key: s.secret}, false)
	return saved.save()
}

// writeRequest is a request of the Open Inference Protocol with the first test image.
func writeRequest(path string, test *data.Dataset) error {
	images, _ := columns(test)
	first := images.Rows(0, 1)
	values := make([]int, first.Len()) // not []uint8, which JSON takes for base64
	for i, v := range first.Bytes() {
		values[i] = int(v)
	}
	text, err := json.Marshal(map[string]any{"inputs": []any{map[string]any{
		"name": model.ImageInput, "datatype": "UINT8", "shape": first.Shape(), "data": values,
	}}})
	if err != nil {
		return fault.From(err, "tandem.demo")
	}
	return fault.From(os.WriteFile(path, append(text, '\n'), 0o644), "tandem.demo")
}

// report prints the figures and what to try next.
func (d *demo) report() error {
	a, r := d.a, d.result
	if a.json {
		return a.emit(r)
	}
	a.say("")
	a.say("accuracy %.4f", r.Accuracy)
	rows := [][]string{{a.msg.Sprintf("Serving"), a.msg.Sprintf("%.1f s", r.ServeSeconds), a.msg.Sprintf("%s images/s", a.msg.Count(int(r.ServeRate))),
		a.msg.Sprintf("%s images, %d connections, %d images a request", a.msg.Count(r.Images), demoConnections, demoRows)}}
	rows = append([][]string{{a.msg.Sprintf("Training"), a.msg.Sprintf("%.1f s", r.TrainSeconds), a.msg.Sprintf("%s images/s", a.msg.Count(int(r.TrainRate))),
		a.msg.Sprintf("%s images, with evaluation and checkpoints", a.msg.Count(r.trainedImages))}}, rows...)
	if r.BuildSeconds > 0 {
		rows = append([][]string{{a.msg.Sprintf("Compiling"), a.msg.Sprintf("%.1f s", r.BuildSeconds)}}, rows...)
	}
	if err := a.table(nil, rows); err != nil {
		return err
	}
	return d.next()
}

// next are commands to copy.
func (d *demo) next() error {
	a, dir := d.a, d.Keep
	a.say("\nWhat to try next:")
	var rows [][]string
	if dir == "" {
		dir = "tandem-demo"
		rows = append(rows, []string{a.msg.Sprintf("The same, and keep data, run and model:")}, []string{"    tandem demo --keep " + dir})
	}
	rows = append(rows, [][]string{
		{a.msg.Sprintf("Serve the model at %s:", defaultURL)}, {"    tandem serve --data " + dir},
		{a.msg.Sprintf("Ask it, from another terminal:")},
		{"    curl -H @" + filepath.Join(dir, keyFile) + " -H 'Content-Type: application/json' --data @" + filepath.Join(dir, requestFile) + " " + defaultURL + "/v2/models/" + demoName + "/infer"},
		{a.msg.Sprintf("Train longer:")}, {"    tandem train --family vision --data mnist --epochs 12"},
	}...)
	return a.table(nil, rows)
}
