package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"tandem/graph"
	"tandem/graph/op"
	"tandem/kernel"
	"tandem/model"
	"tandem/nn"
	"tandem/tensor"
	"tandem/train"
	"tandem/train/metric"
	"tandem/train/tune"
)

type settings struct {
	model, tokenizer, data, out, only string
	length, limit, threads            int
	seed                              uint64
}

// recipe is one of the runs that are compared.
type recipe struct {
	name    string
	fresh   bool // weights are drawn anew
	frozen  bool // only the head is trained
	lora    int  // rank of pairs
	rate    float32
	epochs  int
	warmup  int
	dropout float32
}

func recipes() []recipe {
	return []recipe{
		{name: "fine-tuned", rate: 5e-5, epochs: 1, warmup: 20, dropout: 0.1},
		{name: "low-rank pairs", lora: 8, rate: 5e-4, epochs: 1, warmup: 20, dropout: 0.1},
		{name: "from nothing", fresh: true, rate: 3e-4, epochs: 1, warmup: 20, dropout: 0.1},
		{name: "frozen, logistic regression", frozen: true, rate: 2e-2, epochs: 3},
	}
}

func main() {
	var s settings
	flag.StringVar(&s.model, "model", "bench/.models/minilm.onnx", "ONNX file to start from")
	flag.StringVar(&s.tokenizer, "tokenizer", "", "tokenizer.json of the model")
	flag.StringVar(&s.data, "data", "../shared/data/sst2", "folder with train.tsv and dev.tsv")
	flag.StringVar(&s.out, "out", "", "folder for the runs; a temporary one without it")
	flag.StringVar(&s.only, "only", "", "run only the recipe of this name")
	flag.IntVar(&s.length, "length", 32, "tokens of a sentence")
	flag.IntVar(&s.limit, "limit", 0, "sentences to train on; 0: all")
	flag.Uint64Var(&s.seed, "seed", 1, "order of the sentences and first weights")
	flag.IntVar(&s.threads, "threads", runtime.GOMAXPROCS(0), "threads")
	flag.Parse()
	if err := s.run(); err != nil {
		log.Fatal(err)
	}
}

func (s settings) run() error {
	set, err := readSet(s)
	if err != nil {
		return err
	}
	if s.out == "" {
		if s.out, err = os.MkdirTemp("", "finetune-"); err != nil {
			return err
		}
		defer os.RemoveAll(s.out)
	}
	type row struct {
		Name     string  `json:"name"`
		Accuracy float64 `json:"accuracy"`
		F1       float64 `json:"f1"`
		AUC      float64 `json:"auc"`
		Seconds  float64 `json:"seconds"`
	}
	rows := []row{}
	for i, r := range recipes() {
		if s.only != "" && s.only != r.name {
			continue
		}
		start := time.Now()
		record, err := s.train(set, r, filepath.Join(s.out, fmt.Sprint(i)))
		if err != nil {
			return fmt.Errorf("%s: %w", r.name, err)
		}
		m := record.Metrics
		rows = append(rows, row{r.name, m["test_accuracy"], m["test_f1"], m["test_auc"], time.Since(start).Seconds()})
		fmt.Printf("%-28s accuracy %.4f  F1 %.4f  AUC %.4f  %4.0f s\n", r.name, m["test_accuracy"], m["test_f1"], m["test_auc"], time.Since(start).Seconds())
	}
	return json.NewEncoder(os.Stdout).Encode(map[string]any{"bench": "finetune", "set": "SST-2", "seed": s.seed, "train": set.train.Len(), "dev": set.dev.Len(), "rows": rows})
}

func (s settings) train(set *sentences, r recipe, dir string) (*train.Record, error) {
	spec := train.Spec{Name: "finetune", Family: "bench", Task: "classify", Data: train.DataSpec{Path: s.data}}
	spec.From = tune.Start{Model: s.model, After: "states", Pool: "mean", LoRA: tune.LoRA{Rank: r.lora}}
	spec.From.LoRA.Patterns = []string{"*attention.self.query*", "*attention.self.value*", "*dense*"}
	spec.Train = train.TrainSpec{Epochs: r.epochs, BatchRows: 32, Seed: s.seed, ClipNorm: 1, CheckpointSteps: 1 << 30}
	spec.Train.Optimizer = train.OptimizerSpec{Name: "adamw", LearningRate: r.rate, WeightDecay: 0.01}
	spec.Train.Schedule = train.ScheduleSpec{Name: "linear", WarmupSteps: r.warmup}
	spec.FillDefaults()
	p, err := s.problem(set, r, spec)
	if err != nil {
		return nil, err
	}
	pool := kernel.NewPool(s.threads, kernel.Detect())
	defer pool.Close()
	opt := train.Options{Ops: op.Default(), Pool: pool, Progress: func(p train.Progress) {
		if p.Step%50 == 0 && p.Phase == train.Training {
			fmt.Fprintf(os.Stderr, "%s: epoch %d, step %d of %d, loss %.4f, accuracy %.4f, %.0f sentences/s\n", r.name, p.Epoch, p.Step, p.Steps, p.Loss, p.Accuracy, p.RowsPerSecond)
		}
	}}
	return train.Run(context.Background(), p, spec, dir, opt)
}

func (s settings) problem(set *sentences, r recipe, spec train.Spec) (*train.Problem, error) {
	ops := op.Default()
	n, err := tune.Open(s.model, ops)
	if err != nil {
		return nil, err
	}
	shape := graph.Shape{graph.Sym("batch"), graph.Const(s.length)}
	t, err := tune.Begin(n, spec.From, map[string]graph.Shape{"input_ids": shape, "attention_mask": shape}, spec.Train.Seed, ops)
	if err != nil {
		return nil, err
	}
	head := nn.Sequential{nn.Dense{Units: 2}}
	if r.dropout > 0 {
		head = append(nn.Sequential{nn.Dropout{Ratio: r.dropout}}, head...)
	}
	t.Output(t.Op("Softmax", nil, head.Build(t.Builder, t.Features)))
	if err := t.Check(); err != nil {
		return nil, err
	}
	params := t.Params()
	if r.frozen {
		params = t.Builder.Params()
	}
	if r.fresh {
		if err := drawAnew(t.Kept, s.seed); err != nil {
			return nil, err
		}
	}
	return &train.Problem{
		Graph: t.G, Params: params, Loss: nn.CrossEntropy, Metrics: metric.Labels,
		Target: graph.Type{DType: tensor.Int64, Shape: graph.Shape{graph.Sym("batch")}},
		Train:  set.train, Test: set.dev, Feed: feed,
		Finish:   func(g *graph.Graph) error { return t.Merge(g, ops) },
		Artifact: model.Artifact{Labels: []string{"negative", "positive"}, Batch: true},
	}, nil
}

// drawAnew gives parameters what BERT begins with: weights of deviation 0.02, biases of
// 0, scales of 1.
func drawAnew(params []*graph.Value, seed uint64) error {
	var errs []error
	for i, v := range params {
		t, err := v.Const.Tensor()
		if err != nil {
			errs = append(errs, err)
			continue
		}
		x := t.F32()
		if t.Rank() > 1 {
			kernel.Normal(x, seed, uint64(i))
			for j := range x {
				x[j] *= 0.02
			}
			continue
		}
		scale := filepath.Ext(v.Name) == ".weight" // of a layer norm: of one dimension
		for j := range x {
			if x[j] = 0; scale {
				x[j] = 1
			}
		}
	}
	return errors.Join(errs...)
}
