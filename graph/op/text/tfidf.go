package text

import (
	order "encoding/binary"
	"fmt"
	"slices"
	"strconv"

	"tandem/graph"
	"tandem/tensor"
)

// maxPlaces bounds the length of an output row, which a model may claim at will.
const maxPlaces = 1 << 24

// vocabulary is what TfIdfVectorizer counts: n-grams as keys, with their places
// in the output.
type vocabulary struct {
	item               map[string]uint32  // numbers of the items by their keys, from 1 on
	place              []map[string]int32 // by length of the n-gram; keys are numbers of items
	single             []int32            // place of each item alone, by its number; -1: none
	weight             []float32          // by place; nil: 1
	least, most, skips int
	mode               string
	size               int
}

func vocabularyOf(a graph.Attrs) (*vocabulary, error) {
	v := &vocabulary{least: a.Int("min_gram_length", 1), most: a.Int("max_gram_length", 1), skips: a.Int("max_skip_count", 0), mode: a.String("mode", "TF")}
	if v.least < 1 || v.most < v.least || v.most > 64 || v.skips < 0 || v.skips > 1<<20 {
		return nil, fmt.Errorf("n-grams of %d to %d with up to %d skips are not possible", v.least, v.most, v.skips)
	}
	if v.mode != "TF" && v.mode != "IDF" && v.mode != "TFIDF" {
		return nil, fmt.Errorf("mode %q is not known", v.mode)
	}
	words, _ := a["pool_strings"].([]string)
	numbers, _ := a["pool_int64s"].([]int64)
	var pool []string
	pool = append(pool, words...)
	if pool == nil {
		for _, n := range numbers {
			pool = append(pool, numberKey(n))
		}
	}
	places := a.Ints("ngram_indexes")
	var err error
	if v.size, err = vocabularySize(places); err != nil {
		return nil, err
	}
	return v, v.read(pool, a.Ints("ngram_counts"), places, a["weights"])
}

// vocabularySize is the length of an output row: the largest place and one.
func vocabularySize(places []int) (int, error) {
	size := 0
	for _, at := range places {
		if at < 0 || at >= maxPlaces {
			return 0, fmt.Errorf("an n-gram has the index %d, the limit is %d", at, maxPlaces)
		}
		size = max(size, at+1)
	}
	return size, nil
}

// read fills the maps: starts tells where in the pool the n-grams of each length
// begin.
func (v *vocabulary) read(pool []string, starts, places []int, weights any) error {
	list, _ := weights.([]float32)
	if list != nil && len(list) != len(places) {
		return fmt.Errorf("%d weights for %d n-grams", len(list), len(places))
	}
	v.item, v.single = map[string]uint32{}, []int32{-1}
	for _, key := range pool {
		if v.item[key] == 0 {
			v.item[key] = uint32(len(v.single))
			v.single = append(v.single, -1)
		}
	}
	v.place = make([]map[string]int32, v.most+1)
	v.weight = make([]float32, v.size)
	next := 0
	for i, start := range starts {
		end, n := len(pool), i+1
		if i+1 < len(starts) {
			end = starts[i+1]
		}
		if start < 0 || end < start || end > len(pool) || (end-start)%n != 0 {
			return fmt.Errorf("ngram_counts %v do not divide a pool of %d", starts, len(pool))
		}
		for at := start; at < end; at += n {
			if next >= len(places) {
				return fmt.Errorf("%d indexes are too few for the pool", len(places))
			}
			w := float32(1)
			if list != nil {
				w = list[next]
			}
			v.weight[places[next]] = w
			switch {
			case n == 1:
				v.single[v.item[pool[at]]] = int32(places[next])
			case n < len(v.place):
				if v.place[n] == nil {
					v.place[n] = map[string]int32{}
				}
				var key []byte
				for _, item := range pool[at : at+n] {
					key = order.LittleEndian.AppendUint32(key, v.item[item])
				}
				v.place[n][string(key)] = int32(places[next])
			}
			next++
		}
	}
	return nil
}

func numberKey(n int64) string { return strconv.FormatInt(n, 10) }

func inferTfIdf(c *graph.Infer) error {
	if err := c.Require(1, 1); err != nil {
		return err
	}
	in := c.In(0)
	if in.DType != tensor.String && in.DType != tensor.Int32 && in.DType != tensor.Int64 {
		return fmt.Errorf("the input is %v, expected strings or integers", in)
	}
	if len(in.Shape) < 1 || len(in.Shape) > 2 {
		return fmt.Errorf("shape %v is neither [C] nor [N, C]", in.Shape)
	}
	size, err := vocabularySize(c.Node.Attrs.Ints("ngram_indexes"))
	if err != nil {
		return err
	}
	c.Out(0, tensor.Float32, append(slices.Clone(in.Shape[:len(in.Shape)-1]), graph.Const(size)))
	return nil
}

func kernelTfIdf(c *graph.Call) (func() error, error) {
	v, err := graph.Derive(c, vocabularyOf)
	if err != nil {
		return nil, err
	}
	x := c.In[0]
	cols := x.Dim(x.Rank() - 1)
	var items []uint32
	return func() error {
		items = items[:0]
		if x.DType() == tensor.String {
			for _, s := range x.Strings() {
				items = append(items, v.item[s])
			}
		} else {
			for _, n := range x.Ints() {
				items = append(items, v.item[numberKey(int64(n))])
			}
		}
		y, left := c.Out[0].F32(), items
		clear(y)
		for at := 0; len(left) > 0; at += v.size {
			c.Pool.Look()
			v.count(y[at:][:v.size], left[:cols])
			left = left[cols:]
		}
		return nil
	}, nil
}

// count adds up the n-grams of a row. The items of one lie 1 to skips+1 apart;
// single items are counted once.
func (v *vocabulary) count(y []float32, row []uint32) {
	if v.least == 1 {
		for _, item := range row {
			if at := v.single[item]; at >= 0 {
				y[at]++
			}
		}
	}
	for apart := 1; apart <= v.skips+1; apart++ {
		for n := max(v.least, 2); n <= v.most; n++ {
			if v.place[n] == nil {
				continue
			}
			for start := 0; start+(n-1)*apart < len(row); start++ {
				v.gram(y, row[start:], n, apart)
			}
		}
	}
	for i, count := range y {
		switch {
		case count == 0:
		case v.mode == "IDF":
			y[i] = v.weight[i]
		case v.mode == "TFIDF":
			y[i] *= v.weight[i]
		}
	}
}

// gram counts the n items of a row from its first on that lie so far apart, if the
// vocabulary has them in this order.
func (v *vocabulary) gram(y []float32, row []uint32, n, apart int) {
	var buf [4 * 64]byte
	key := buf[:0]
	for i := range n {
		item := row[i*apart]
		if item == 0 {
			return
		}
		key = order.LittleEndian.AppendUint32(key, item)
	}
	if at, ok := v.place[n][string(key)]; ok {
		y[at]++
	}
}
