package main

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"log"
	"math/rand/v2"
	"os"
	"runtime"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
	"time"

	"tandem/graph"
	"tandem/graph/op"
	"tandem/kernel"
	"tandem/nn"
	"tandem/tensor"
	"tandem/train"
)

func main() {
	log.SetFlags(0)
	threads := flag.Int("threads", 2, "workers")
	only := flag.String("only", "mlp,cnn,resnet18,lstm,gru,transformer", "networks")
	scale := flag.Float64("scale", 1, "steps a round, as a factor")
	precision := flag.String("precision", "f32", "f32 or bf16 (train.precision)")
	recompute := flag.Bool("recompute", false, "keep fewer results of the forward pass (train.recompute)")
	profile := flag.String("profile", "", "write a CPU profile of the steps to this file")
	text := flag.String("text", "", "a text: train the network of -only on its characters and print bits per character")
	steps := flag.Int("steps", 300, "steps of -text")
	seed := flag.Uint64("seed", 1, "seed of -text")
	flag.Parse()
	runtime.GOMAXPROCS(*threads)
	pool := kernel.NewPool(*threads, kernel.Detect())
	defer pool.Close()
	base := peakKiB()
	if *profile != "" {
		f, err := os.Create(*profile)
		if err != nil {
			log.Fatal(err)
		}
		if err := pprof.StartCPUProfile(f); err != nil {
			log.Fatal(err)
		}
		defer pprof.StopCPUProfile()
	}
	if *text != "" {
		if err := runText(*only, *text, *steps, *seed, pool); err != nil {
			log.Fatal(err)
		}
		return
	}
	for _, n := range networks() {
		if !slices.Contains(strings.Split(*only, ","), n.name) {
			continue
		}
		n.steps = max(1, int(float64(n.steps)**scale))
		if err := n.run(pool, base, train.TrainSpec{Recompute: *recompute, Precision: *precision}); err != nil {
			log.Fatalf("%s: %v", n.name, err)
		}
	}
}

// run times five rounds of steps after two to warm up, and prints the median.
func (n network) run(pool *kernel.Pool, baseKiB int, spec train.TrainSpec) error {
	p, err := n.problem(1)
	if err != nil {
		return err
	}
	spec.Seed, spec.Optimizer = 1, train.OptimizerSpec{Name: "adam", LearningRate: 1e-3, Beta1: 0.9, Beta2: 0.999, Epsilon: 1e-8}
	s, err := train.NewStepper(p, spec, op.Default(), pool)
	if err != nil {
		return err
	}
	defer s.Close()
	var inputs, targets []*tensor.Tensor
	rng := rand.New(rand.NewPCG(1, 2))
	for range 4 {
		x, y := n.data(rng)
		inputs, targets = append(inputs, x), append(targets, y)
	}
	done, first, last := 0, 0.0, 0.0
	step := func() error {
		i := done % len(inputs)
		done++
		last, _, err = s.Step(context.Background(), done, 1e-3, inputs[i:i+1], targets[i])
		if done == 1 {
			first = last
		}
		return err
	}
	var rounds []float64
	for r := range 6 {
		count := n.steps
		if r == 0 {
			count = 2
		}
		start := time.Now()
		for range count {
			if err := step(); err != nil {
				return err
			}
		}
		if r > 0 {
			rounds = append(rounds, time.Since(start).Seconds()*1e3/float64(count))
		}
	}
	slices.Sort(rounds)
	return json.NewEncoder(os.Stdout).Encode(map[string]any{
		"model": n.name, "threads": pool.Threads(), "ms_per_step": rounds[2], "spread_ms": []float64{rounds[0], rounds[4]},
		"steps_per_s": 1e3 / rounds[2], "peak_mb_over_start": (peakKiB() - baseKiB) / 1024,
		"isa": pool.ISA().String(), "first_loss": first, "last_loss": last,
	})
}

func (n network) problem(seed uint64) (*train.Problem, error) {
	b := nn.NewBuilder(n.name, op.Default(), seed)
	b.Output(n.layers.Build(b, b.Input("x", n.input.DType, n.input.Shape...)))
	target := graph.Shape{graph.Sym("batch")}
	if n.tokens > 0 {
		target = append(target, graph.Const(n.tokens))
	}
	return &train.Problem{
		Graph: b.G, Params: b.Params(), Loss: nn.CrossEntropy, Target: graph.Type{DType: tensor.Int64, Shape: target},
	}, b.Err()
}

// data is one batch of noise.
func (n network) data(rng *rand.Rand) (x, y *tensor.Tensor) {
	shape := []int{n.batch}
	for _, d := range n.input.Shape[1:] {
		v, _ := d.Value()
		shape = append(shape, v)
	}
	x = tensor.New(n.input.DType, shape...)
	if n.tokens == 0 {
		y = tensor.New(tensor.Int64, n.batch)
		for i := range x.F32() {
			x.F32()[i] = float32(rng.NormFloat64())
		}
	} else {
		y = tensor.New(tensor.Int64, n.batch, n.tokens)
		for i := range x.I64() {
			x.I64()[i] = rng.Int64N(int64(n.classes))
		}
	}
	for i := range y.I64() {
		y.I64()[i] = rng.Int64N(int64(n.classes))
	}
	return x, y
}

// peakKiB is the most memory that this process has had resident; 0 where the
// system does not tell.
func peakKiB() int {
	f, err := os.Open("/proc/self/status")
	if err != nil {
		return 0
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if rest, ok := strings.CutPrefix(lines.Text(), "VmHWM:"); ok {
			n, err := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(rest), " kB"))
			if err != nil {
				return 0
			}
			return n
		}
	}
	return 0
}
