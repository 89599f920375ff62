package data

import (
	"io"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"tandem/fault"
	"tandem/tensor"
)

// cut is a dataset in memory as a source of blocks: the oracle of readers.
type cut struct {
	whole  *Dataset
	starts []int
	broken int // a block that can't be read, or -1
}

func (c cut) load(block, lo, hi int, dst []*tensor.Tensor) error {
	if block == c.broken {
		return fault.New("test", fault.Corrupt, "block %d", block)
	}
	for i, t := range c.whole.memory {
		if err := dst[i].CopyFrom(t.Rows(c.starts[block]+lo, c.starts[block]+hi)); err != nil {
			return err
		}
	}
	return nil
}

func (c cut) Close() error { return nil }

// numbered is n examples that hold their own numbers.
func numbered(t interface{ Fatal(...any) }, n int) *Dataset {
	x, word := tensor.New(tensor.Int64, n), tensor.New(tensor.String, n)
	for i := range n {
		x.I64()[i] = int64(i)
		word.Strings()[i] = string(rune('a' + i%26))
	}
	d, err := NewDataset(Column{Name: "x", Tensor: x}, Column{Name: "word", Tensor: word})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func streamed(d *Dataset, rows []int, broken int) *Dataset {
	starts := []int{0}
	for _, n := range rows {
		starts = append(starts, starts[len(starts)-1]+n)
	}
	return newStream(d.fields, cut{d, starts, broken}, rows)
}

// visited is what a pass gives, and the sizes of its batches.
func visited(t interface{ Fatal(...any) }, d *Dataset, p Pass) (x []int64, sizes []int) {
	r := d.Read(p)
	defer r.Close()
	var b Batch
	for {
		err := r.Next(&b)
		if err == io.EOF {
			return x, sizes
		}
		if err != nil {
			t.Fatal(err)
		}
		numbers, _ := b.Column("x")
		words, _ := b.Column("word")
		for i, v := range numbers.I64() {
			if words.Strings()[i] != string(rune('a'+v%26)) {
				t.Fatal("columns of an example are of different ones")
			}
		}
		x, sizes = append(x, numbers.I64()...), append(sizes, b.Len())
	}
}

// TestReaderVisitsAllOnce: whatever the blocks, a pass gives each example once, in
// batches of the size asked for; skipping gives the rest of the same pass; another
// epoch has another order.
func TestReaderVisitsAllOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rows := rapid.SliceOfN(rapid.IntRange(1, 5), 1, 200).Draw(t, "rows")
		n := 0
		for _, r := range rows {
			n += r
		}
		d := streamed(numbered(t, n), rows, -1)
		lo := rapid.IntRange(0, n).Draw(t, "lo")
		hi := rapid.IntRange(lo, n).Draw(t, "hi")
		d = d.Slice(lo, hi)
		p := Pass{Rows: rapid.IntRange(1, 70).Draw(t, "batch"), Shuffle: rapid.Bool().Draw(t, "shuffle"), Seed: rapid.Uint64().Draw(t, "seed")}
		all, sizes := visited(t, d, p)
		sorted := slices.Clone(all)
		slices.Sort(sorted)
		for i, v := range sorted {
			if v != int64(lo+i) || !p.Shuffle && all[i] != v {
				t.Fatalf("example %d is %d", i, v)
			}
		}
		if len(all) != hi-lo {
			t.Fatalf("%d of %d examples", len(all), hi-lo)
		}
		for i, n := range sizes {
			if n != p.Rows && (i+1 < len(sizes) || n != len(all)-i*p.Rows) {
				t.Fatalf("batches of %v rows, want %d", sizes, p.Rows)
			}
		}
		p.Skip = rapid.IntRange(0, len(sizes)+1).Draw(t, "skip")
		rest, _ := visited(t, d, p)
		if !slices.Equal(rest, all[min(p.Skip*p.Rows, len(all)):]) {
			t.Fatalf("after %d batches: %v, want the end of %v", p.Skip, rest, all)
		}
		p.Skip, p.Epoch = 0, 1
		if other, _ := visited(t, d, p); p.Shuffle && len(all) > 20 && slices.Equal(other, all) {
			t.Fatal("epoch 1 has the order of epoch 0")
		}
	})
}

// TestReaderOrder: one window comes in the order that shuffle gives, whether it lies in
// memory or is read in blocks. The order of several windows never changes either:
// jobs depend on it.
func TestReaderOrder(t *testing.T) {
	p := Pass{Rows: 7, Shuffle: true, Seed: 3, Epoch: 2}
	want := []int64{}
	for _, i := range order(100, 3, 2) {
		want = append(want, int64(i))
	}
	d := numbered(t, 100)
	for name, d := range map[string]*Dataset{"in memory": d, "streamed": streamed(d, []int{30, 50, 20}, -1)} {
		if got, _ := visited(t, d, p); !slices.Equal(got, want) {
			t.Errorf("%s: %v", name, got)
		}
	}
	two := make([]int, 65)
	for i := range two {
		two[i] = 3
	}
	got, _ := visited(t, streamed(numbered(t, 195), two, -1), p)
	if want := []int64{50, 157, 82, 88, 44, 43, 42}; !slices.Equal(append(got[:4:4], got[192:]...), want) {
		t.Errorf("of two windows: %v … %v, want %v", got[:4], got[192:], want)
	}
}

func TestReaderStopsAtWhatIsBroken(t *testing.T) {
	rows := make([]int, 130)
	for i := range rows {
		rows[i] = 2
	}
	r := streamed(numbered(t, 260), rows, 70).Read(Pass{Rows: 64})
	defer r.Close()
	var b Batch
	for range 2 {
		if err := r.Next(&b); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Next(&b); fault.KindOf(err) != fault.Corrupt {
		t.Errorf("got %v", err)
	}
	if err := streamed(numbered(t, 260), rows, 70).Scan(func(*Dataset) error { return nil }); fault.KindOf(err) != fault.Corrupt {
		t.Errorf("got %v", err)
	}
}

// TestDigestOfAStream: where the examples lie is no part of it.
func TestDigestOfAStream(t *testing.T) {
	d := numbered(t, 1000)
	rows := slices.Repeat([]int{8}, 125)
	if a, b := digestOf(t, d), digestOf(t, streamed(d, rows, -1)); a != b {
		t.Errorf("%v in memory, %v in blocks", a, b)
	}
}

// TestReadingDoesNotAllocatePerExample: a steady pass allocates a few views a batch.
func TestReadingDoesNotAllocatePerExample(t *testing.T) {
	d := numbered(t, 100_000)
	r := d.Read(Pass{Rows: 500})
	defer r.Close()
	var b Batch
	if err := r.Next(&b); err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(100, func() { _ = r.Next(&b) }); n > 12 {
		t.Errorf("%v allocations for a batch of 500", n)
	}
}
