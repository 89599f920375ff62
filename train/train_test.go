package train_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"tandem/fault"
	"tandem/graph"
	"tandem/graph/op"
	"tandem/kernel"
	"tandem/nn"
	"tandem/tensor"
	"tandem/train"
)

// TestTwoLayerNetLearns runs the whole road from graph to trained weights.
func TestTwoLayerNetLearns(t *testing.T) {
	r, err := train.Run(t.Context(), twoLayers(t, 3), twoLayersSpec(15), filepath.Join(t.TempDir(), "run"), options(t, 2))
	if err != nil {
		t.Fatal(err)
	}
	if got := r.Metrics["test_accuracy"]; got < 0.95 {
		t.Errorf("test accuracy %v, want at least 0.95: a linear model reaches 0.5", got)
	}
	if r.Status != train.Succeeded || r.Artifact == "" || r.Steps != 15*32 {
		t.Errorf("record %+v", r)
	}
}

// TestSeedGivesTheSameBits: the artifact's digest covers every bit of the weights.
func TestSeedGivesTheSameBits(t *testing.T) {
	digest := func(threads int, seed uint64) string {
		spec := twoLayersSpec(2)
		spec.Train.Seed = seed
		r, err := train.Run(t.Context(), twoLayers(t, seed), spec, filepath.Join(t.TempDir(), "run"), options(t, threads))
		if err != nil {
			t.Fatal(err)
		}
		return string(r.Artifact)
	}
	one := digest(1, 5)
	for i, threads := range []int{1, 2, 3} {
		if got := digest(threads, 5); got != one {
			t.Errorf("run %d with %d threads: %s, with 1 thread %s", i, threads, got, one)
		}
	}
	if digest(1, 6) == one {
		t.Error("another seed gives the same weights")
	}
}

// varied adds noise to the inputs that depends on the place of an example.
func varied(p *train.Problem) *train.Problem {
	p.Vary = func(at train.Visit, inputs []tensorPtr) {
		x := inputs[0].F32()
		for i := range x {
			words := kernel.Words(at.Seed, 1, uint64(at.Epoch), uint64(at.First+i/2))
			x[i] += float32(words[i%2]) / (1 << 34)
		}
	}
	return p
}

// TestStopAndResume stops after every few steps until the run is done. Examples that are
// varied are varied in the same way.
func TestStopAndResume(t *testing.T) {
	spec := twoLayersSpec(3)
	whole := filepath.Join(t.TempDir(), "run")
	want, err := train.Run(t.Context(), varied(twoLayers(t, 5)), spec, whole, options(t, 2))
	if err != nil {
		t.Fatal(err)
	}
	if plain, err := train.Run(t.Context(), twoLayers(t, 5), spec, filepath.Join(t.TempDir(), "run"), options(t, 2)); err != nil || plain.Artifact == want.Artifact {
		t.Errorf("examples that are varied give the same weights: %v", err)
	}
	dir := filepath.Join(t.TempDir(), "run")
	opt := options(t, 1)
	for stops := 0; ; stops++ {
		ctx, cancel := context.WithCancel(t.Context())
		p := varied(twoLayers(t, 5))
		feed := p.Feed
		var left atomic.Int64
		left.Store(int64(11 + stops))
		p.Feed = func(d dataset, in []tensorPtr, target tensorPtr) error {
			if left.Add(-1) == 0 {
				cancel()
			}
			return feed(d, in, target)
		}
		got, err := train.Run(ctx, p, spec, dir, opt)
		cancel()
		opt.Resume = true
		if err == nil {
			if stops < 5 || got.Artifact != want.Artifact {
				t.Errorf("after %d stops: %s, without %s", stops, got.Artifact, want.Artifact)
			}
			break
		}
		if fault.KindOf(err) != fault.Canceled || got.Status != train.Stopped || !strings.Contains(fault.RemedyOf(err), "--resume") {
			t.Fatalf("stop %d: %v, status %s", stops, err, got.Status)
		}
	}
	sameMetrics(t, whole, dir)
}

// sameMetrics compares what is independent of time, of training and of evaluations.
func sameMetrics(t *testing.T, a, b string) {
	t.Helper()
	lines := func(dir string) (list []train.Metric) {
		all, err := train.ReadMetrics(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range all {
			m.Time, m.RowsPerSecond = time.Time{}, 0
			list = append(list, m)
		}
		return list
	}
	x, y := lines(a), lines(b)
	if len(x) != len(y) || len(x) == 0 {
		t.Fatalf("%d and %d lines", len(x), len(y))
	}
	for i := range x {
		if !reflect.DeepEqual(x[i], y[i]) {
			t.Errorf("line %d: %+v and %+v", i, x[i], y[i])
		}
	}
}

// TestTwentyKills kills the process that trains, by SIGKILL, at twenty random moments:
// in half of them soon after its start, while it reads and compiles, in the others while it
// steps and writes checkpoints: some steps after the first checkpoint, however fast the
// machine is. After a few more steps it waits to be killed, however slow that is. The
// weights are those of a run that was left alone.
func TestTwentyKills(t *testing.T) {
	spec := twoLayersSpec(30)
	if dir := os.Getenv("TRAIN_IN"); dir != "" {
		opt := options(t, 2)
		_, err := train.ReadRecord(dir)
		opt.Resume = err == nil
		left, _ := strconv.Atoi(os.Getenv("TRAIN_STEPS"))
		opt.Callbacks.Step = func(int, float64) error {
			if r, err := train.ReadRecord(dir); err != nil || r.Status != train.Running {
				fmt.Println("the record of a run under way is", r, err)
			}
			fmt.Println("stepped") // its parent counts them
			if left--; left == 0 {
				time.Sleep(time.Hour) // to be killed, however late
			}
			time.Sleep(time.Millisecond) // so that most are killed in a step, not while they wait
			return nil
		}
		if _, err := train.Run(t.Context(), twoLayers(t, 5), spec, dir, opt); err != nil {
			t.Fatal(err)
		}
		return
	}
	kills := 20
	if testing.Short() {
		kills = 4
	}
	want, err := train.Run(t.Context(), twoLayers(t, 5), spec, filepath.Join(t.TempDir(), "run"), options(t, 1))
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "run")
	rng := rand.New(rand.NewPCG(7, uint64(time.Now().UnixNano())))
	var steps []int
	for i := range kills {
		after, delay := 0, time.Duration(rng.Int64N(int64(60*time.Millisecond)))
		if i%2 == 1 {
			after, delay = spec.Train.CheckpointSteps+1+rng.IntN(30), delay/20
		}
		killed, text := trainAndKill(t, dir, after, after+20, delay)
		if !killed {
			t.Fatalf("it ended by itself before kill %d, at steps %v: %s", i+1, steps, text)
		}
		if strings.Contains(text, "of a run under way") {
			t.Error(text)
		}
		if r, err := train.ReadRecord(dir); err == nil {
			if steps = append(steps, r.Steps); r.Status != train.Killed {
				t.Errorf("after kill %d the status is %s", i+1, r.Status)
			}
		}
	}
	if killed, text := trainAndKill(t, dir, 0, 0, time.Hour); killed {
		t.Fatal(text)
	}
	got, err := train.ReadRecord(dir)
	if err != nil || got.Artifact != want.Artifact {
		t.Errorf("after %d kills, with checkpoints at steps %v: %v, %s, without %s", kills, steps, err, got.Artifact, want.Artifact)
	}
	if steps[len(steps)-1] == 0 {
		t.Errorf("no kill came after a checkpoint: %v", steps)
	}
}

// trainAndKill starts a child that trains in dir and kills it after so many steps of it and
// a delay; it does at most so many, if not 0. It reports whether the child was still there.
func trainAndKill(t *testing.T, dir string, steps, most int, delay time.Duration) (killed bool, text string) {
	t.Helper()
	child := exec.Command(os.Args[0], "-test.run=^TestTwentyKills$")
	child.Env = append(os.Environ(), "TRAIN_IN="+dir, "TRAIN_STEPS="+strconv.Itoa(most))
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for steps > 0 && lines.Scan() {
		if lines.Text() == "stepped" {
			steps--
		} else {
			text += lines.Text() + "\n"
		}
	}
	timer := time.AfterFunc(delay, func() { _ = child.Process.Kill() }) // it may have ended by itself
	defer timer.Stop()
	for lines.Scan() {
		if lines.Text() != "stepped" {
			text += lines.Text() + "\n"
		}
	}
	err = child.Wait()
	if err != nil && child.ProcessState.Exited() {
		t.Fatalf("the child failed by itself: %v\n%s", err, text)
	}
	return err != nil, text
}

func TestRunRefuses(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	opt := options(t, 1)
	resume := opt
	resume.Resume = true
	if _, err := train.Run(t.Context(), twoLayers(t, 5), twoLayersSpec(1), dir+"-none", resume); fault.KindOf(err) != fault.NotFound {
		t.Errorf("resuming nothing: %v", err)
	}
	if _, err := train.Run(t.Context(), twoLayers(t, 5), twoLayersSpec(1), dir, opt); err != nil {
		t.Fatal(err)
	}
	if _, err := train.Run(t.Context(), twoLayers(t, 5), twoLayersSpec(1), dir, opt); fault.KindOf(err) != fault.Conflict {
		t.Errorf("training over a run: %v", err)
	}
	if _, err := train.Run(t.Context(), twoLayers(t, 5), twoLayersSpec(2), dir, resume); fault.KindOf(err) != fault.Conflict || !strings.Contains(err.Error(), `train.epochs is "1" there, and "2" here`) {
		t.Errorf("resuming with another spec: %v", err)
	}
	other := twoLayers(t, 5)
	other.Train = spirals(t, 1000, 9)
	if _, err := train.Run(t.Context(), other, twoLayersSpec(1), dir, resume); fault.KindOf(err) != fault.Conflict {
		t.Errorf("resuming with other data: %v", err)
	}
	for every, refused := range map[int]bool{32: false, 33: true} { // an epoch has 32 batches
		spec := twoLayersSpec(1)
		spec.Train.AccumulateSteps = every
		_, err := train.Run(t.Context(), twoLayers(t, 5), spec, fmt.Sprintf("%s-every%d", dir, every), opt)
		if (fault.KindOf(err) == fault.Invalid) != refused || refused && !strings.Contains(err.Error(), "it would never change a weight") {
			t.Errorf("an update every %d batches of 32: %v", every, err)
		}
	}
	broken := twoLayers(t, 5)
	feed := broken.Feed
	broken.Feed = func(d dataset, in []tensorPtr, target tensorPtr) error {
		err := feed(d, in, target)
		in[0].F32()[3] = float32(math.NaN())
		return err
	}
	r, err := train.Run(t.Context(), broken, twoLayersSpec(1), dir+"-nan", opt)
	if fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), "the loss of step 1 (epoch 1) is NaN") || r.Status != train.Failed {
		t.Errorf("a loss that is not a number: %v, %+v", err, r)
	}
}

// TestBatchNormOfOne: a batch of one row has nothing to normalise by, as PyTorch says too;
// that is known before the first step.
func TestBatchNormOfOne(t *testing.T) {
	problem := func(rows int, layers ...nn.Layer) *train.Problem {
		p := twoLayers(t, 5)
		b := nn.NewBuilder("normal", op.Default(), 5)
		x := b.Input("x", tensor.Float32, graph.Sym("batch"), graph.Const(2))
		b.Output(b.Op("Softmax", nil, nn.Sequential(layers).Build(b, x)))
		if b.Err() != nil {
			t.Fatal(b.Err())
		}
		p.Graph, p.Params, p.Train = b.G, b.Params(), spirals(t, rows, 1)
		return p
	}
	plain := []nn.Layer{nn.Dense{Units: 4}, nn.BatchNorm{}, nn.Dense{Units: 2}}
	places := []nn.Layer{nn.Reshape{Shape: []int{1, 2}}, nn.BatchNorm{}, nn.Flatten{}, nn.Dense{Units: 2}}
	for _, tc := range []struct {
		rows, batch int
		layers      []nn.Layer
		refused     bool
	}{{65, 32, plain, true}, {64, 32, plain, false}, {66, 32, plain, false}, {8, 1, plain, true}, {1, 32, plain, true}, {65, 32, places, false}} {
		dir, spec := filepath.Join(t.TempDir(), "run"), twoLayersSpec(1)
		spec.Train.BatchRows = tc.batch
		_, err := train.Run(t.Context(), problem(tc.rows, tc.layers...), spec, dir, options(t, 1))
		_, statErr := os.Stat(dir)
		if (fault.KindOf(err) == fault.Invalid) != tc.refused || tc.refused && (!strings.Contains(err.Error(), "batch_norm cannot") || statErr == nil) {
			t.Errorf("%d rows in batches of %d: %v", tc.rows, tc.batch, err)
		}
	}
	// A loop of one's own is told by the step.
	p := problem(1, plain...)
	s, err := train.NewStepper(p, twoLayersSpec(1).Train, op.Default(), options(t, 1).Pool)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, _, err := s.Step(t.Context(), 1, 0.1, []tensorPtr{tensor.New(tensor.Float32, 1, 2)}, tensor.New(tensor.Int64, 1)); err == nil || !strings.Contains(err.Error(), "cannot be normalised") {
		t.Errorf("a step of one row: %v", err)
	}
}

// breakOff trains in dir and ends after 40 steps.
func breakOff(t *testing.T, spec train.Spec, dir string, opt train.Options) {
	t.Helper()
	enough := errors.New("enough")
	opt.Callbacks.Step = func(step int, _ float64) error {
		if step == 40 {
			return enough
		}
		return nil
	}
	if _, err := train.Run(t.Context(), twoLayers(t, 5), spec, dir, opt); !errors.Is(err, enough) {
		t.Fatal(err)
	}
}

// TestResumeFromAnotherModel: what a run does not train is in no checkpoint, so that it must
// be what it was.
func TestResumeFromAnotherModel(t *testing.T) {
	spec := twoLayersSpec(3)
	spec.From.Model, spec.Train.Freeze = "base.onnx", []string{"dense1*"}
	spec.FillDefaults()
	dir := filepath.Join(t.TempDir(), "run")
	opt := options(t, 1)
	breakOff(t, spec, dir, opt)
	opt.Resume = true
	if _, err := train.Run(t.Context(), twoLayers(t, 6), spec, dir, opt); fault.KindOf(err) != fault.Conflict || !strings.Contains(err.Error(), "started from another model") {
		t.Errorf("from another model: %v", err)
	}
	if _, err := train.Run(t.Context(), twoLayers(t, 5), spec, dir, opt); err != nil {
		t.Error(err)
	}
}

// TestResumeElsewhere: a run that goes on in another instruction tier, in which bits
// differ, names both; without the weights of its best epoch it does not go on for nothing.
func TestResumeElsewhere(t *testing.T) {
	spec := twoLayersSpec(3)
	spec.Train.KeepBest = true
	dir := filepath.Join(t.TempDir(), "run")
	opt := options(t, 1)
	breakOff(t, spec, dir, opt)
	best := filepath.Join(dir, "best.safetensors")
	if err := os.Rename(best, best+".away"); err != nil {
		t.Fatal(err)
	}
	plain := kernel.NewPool(1, kernel.Generic)
	defer plain.Close()
	opt.Resume, opt.Pool = true, plain
	if _, err := train.Run(t.Context(), twoLayers(t, 5), spec, dir, opt); fault.KindOf(err) != fault.Corrupt || !strings.Contains(err.Error(), "best epoch so far cannot be read") {
		t.Errorf("without the best weights: %v", err)
	}
	if err := os.Rename(best+".away", best); err != nil {
		t.Fatal(err)
	}
	want := kernel.Generic.String()
	if first := kernel.Detect().String(); first != want {
		want = first + ", " + want
	}
	if r, err := train.Run(t.Context(), twoLayers(t, 5), spec, dir, opt); err != nil || r.ISA != want {
		t.Errorf("%v, %+v; want the tiers %s", err, r, want)
	}
}

// TestDamagedCheckpoint: the one before it serves; with none left the run says so.
func TestDamagedCheckpoint(t *testing.T) {
	spec := twoLayersSpec(3)
	want, err := train.Run(t.Context(), twoLayers(t, 5), spec, filepath.Join(t.TempDir(), "run"), options(t, 1))
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "run")
	opt := options(t, 1)
	ctx, cancel := context.WithCancel(t.Context())
	p := twoLayers(t, 5)
	feed := p.Feed
	var left atomic.Int64
	left.Store(40)
	p.Feed = func(d dataset, in []tensorPtr, target tensorPtr) error {
		if left.Add(-1) == 0 {
			cancel()
		}
		return feed(d, in, target)
	}
	if _, err := train.Run(ctx, p, spec, dir, opt); fault.KindOf(err) != fault.Canceled {
		t.Fatal(err)
	}
	files, _ := filepath.Glob(filepath.Join(dir, "checkpoints", "*.safetensors"))
	if len(files) != 2 {
		t.Fatalf("checkpoints %v", files)
	}
	damage := func(path string) {
		if err := os.Truncate(path, 100); err != nil {
			t.Fatal(err)
		}
	}
	opt.Resume = true
	damage(files[1])
	got, err := train.Run(t.Context(), twoLayers(t, 5), spec, dir, opt)
	if err != nil || got.Artifact != want.Artifact {
		t.Errorf("with the newest damaged: %v, %+v", err, got)
	}
}
