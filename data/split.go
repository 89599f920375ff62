package data

import (
	"encoding/binary"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"slices"

	"tandem/data/rows"
	"tandem/fault"
)

// Split says which examples of a table are held out to test with.
type Split struct {
	Test float64 // the fraction of the examples, from 0, none, to below 1
	By   SplitBy
	// Column is that of the time or the group.
	Column string
	Seed   uint64
}

// SplitBy is how the examples to test with are chosen.
type SplitBy string

const (
	// ByChance draws them: of n examples exactly the fraction, to the nearest. Each
	// example in turn is held with the probability (held still wanted)/(examples
	// left), drawn by the generator of Order with (Seed, "split"). The first example of
	// each class of Options.Labels is never held.
	ByChance SplitBy = "random"
	// ByTime holds the latest by a column of dates or numbers: all from the value on
	// that the fraction begins with, so that of equal times none is parted.
	ByTime SplitBy = "time"
	// ByGroup holds all examples of some groups, which are the values of a column:
	// those whose FNV-1a hash of 64 bits over (Seed, text of the value), mixed, is
	// below the fraction. So a group stays where it is when others come, and the
	// fraction holds in the mean only.
	ByGroup SplitBy = "group"
)

// maxTimes bounds how many times are sorted to find where the latest begin: 512 MiB.
const maxTimes = 64 << 20

// splitter decides row by row, in their order.
type splitter struct {
	opt    Split
	column int
	random rand.PCG
	left   int // rows
	wanted int // of them to be held
	from   float64
}

func (o *opening) newSplitter(t *times) (s splitter, err error) {
	s = splitter{opt: o.opt.Split, column: -1, left: o.rows}
	if s.opt.Test == 0 {
		return s, nil
	}
	s.wanted = int(math.Round(float64(o.rows) * s.opt.Test))
	s.random.Seed(s.opt.Seed, splitStream)
	switch s.opt.By {
	case "", ByChance:
		return s, nil
	case ByTime:
		s.from = t.latest(s.wanted)
	case ByGroup:
	default:
		return s, fault.New(openOp, fault.Invalid, "there is no way to split by %.40q", string(s.opt.By)).Try("use random, time or group")
	}
	s.column, err = o.columnOf(s.opt.Column)
	return s, err
}

// held reports whether the next row is to test with. One of a class that is new is not
// held by chance.
func (s *splitter) held(values []rows.Value, fresh bool) bool {
	switch {
	case s.opt.Test == 0:
		return false
	case s.opt.By == ByTime:
		at, _ := timeOf(values[s.column])
		return at >= s.from
	case s.opt.By == ByGroup:
		return s.heldGroup(values[s.column])
	}
	hold := below(&s.random, uint64(s.left)) < uint64(s.wanted) && !fresh
	s.left--
	if hold {
		s.wanted--
	}
	return hold
}

func (s *splitter) heldGroup(v rows.Value) bool {
	var room [40]byte
	h := fnv.New64a()
	h.Write(binary.LittleEndian.AppendUint64(room[:0], s.opt.Seed))
	h.Write(textOf(v, room[:0]))
	// FNV leaves likeness in the high bits of short texts: the finalizer of
	// MurmurHash3 takes it out.
	x := h.Sum64()
	x = (x ^ x>>33) * 0xff51afd7ed558ccd
	x = (x ^ x>>33) * 0xc4ceb9fe1a85ec53
	x ^= x >> 33
	return float64(x>>11)/(1<<53) < s.opt.Test
}

// times collects the values of a column to split by.
type times struct {
	column string
	at     int // its place, or -1 when that is not known
	values []float64
}

func newTimes(opt Options) *times {
	if opt.Split.Test > 0 && opt.Split.By == ByTime {
		return &times{column: opt.Split.Column, at: -1}
	}
	return &times{}
}

func (t *times) see(o *opening, row *rows.Row, file string) error {
	if t.column == "" {
		return nil
	}
	k, ok := o.index[t.column]
	if !ok {
		return o.noColumn(t.column)
	}
	if t.at < 0 || t.at >= len(o.place) || o.place[t.at] != k {
		t.at = slices.Index(o.place, k)
	}
	var v rows.Value
	if t.at >= 0 && t.at < len(row.Values) {
		v = row.Values[t.at]
	}
	at, ok := timeOf(v)
	if !ok || o.absent.missing(v) {
		return fault.New(openOp, fault.Invalid, "%s, line %d: column %q, to split by, has no date or number", file, row.Line, t.column).
			Try("correct the row, or split by another column")
	}
	if len(t.values) == maxTimes {
		return fault.New(openOp, fault.TooLarge, "more than %d rows cannot be split by time", maxTimes).Try("part the files, and give data.test_path")
	}
	t.values = append(t.values, at)
	return nil
}

// latest is where the latest n begin.
func (t *times) latest(n int) float64 {
	if n == 0 || len(t.values) == 0 {
		return math.Inf(1)
	}
	slices.Sort(t.values)
	return t.values[len(t.values)-n]
}

// timeOf is a number that grows with time.
func timeOf(v rows.Value) (float64, bool) {
	switch v.Is {
	case rows.Int, rows.Date:
		return float64(v.Int), true
	case rows.Float:
		return v.Float, !math.IsNaN(v.Float)
	case rows.Bare, rows.Number, rows.Text:
		if x, ok := parseFloat(v.Text); ok {
			return x, true
		}
		x, ok := parseDate(v.Text)
		return float64(x), ok
	}
	return 0, false
}
