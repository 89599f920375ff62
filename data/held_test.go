package data

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"tandem/fault"
)

// TestClassesHeldAlone: a class that only what is tested with has is refused where the user
// says what that is, and does not come about where chance does.
func TestClassesHeldAlone(t *testing.T) {
	cat := picturePNG(t, 2, 2, 1)
	folders, zipped := tree(t, map[string][]byte{"train/cat/1.png": cat, "train/dog/1.png": cat, "test/cat/2.png": cat, "test/emu/1.png": cat})
	here, _ := tree(t, map[string][]byte{"cat/1.png": cat, "dog/1.png": cat})
	there, _ := tree(t, map[string][]byte{"dog/2.png": cat, "owl/1.png": cat})
	rows := "x,day,house,y\n" + strings.Repeat("1,2026-01-01,a,no\n2,2026-01-02,a,yes\n", 30)
	late := write(t, "late.csv", rows+"3,2026-02-01,a,perhaps\n")
	names := []string{}
	for _, house := range "abcdefghij" {
		names = append(names, fmt.Sprintf("1,2026-01-01,%c,%c\n", house, house))
	}
	houses := write(t, "houses.csv", "x,day,house,y\n"+strings.Join(names, ""))
	for name, c := range map[string]struct {
		path string
		opt  Options
		says string
	}{
		"folders":        {folders, Options{}, `set: picture test/emu/1.png: no example to train with is of the class "emu"`},
		"folders, zip":   {zipped, Options{}, `set.zip: picture test/emu/1.png: no example to train with is of the class "emu"`},
		"another folder": {here, Options{TestPath: there}, `picture owl/1.png: no example to train with is of the class "owl"`},
		"another file":   {write(t, "x.csv", rows), Options{Labels: "y", TestPath: write(t, "y.csv", "y,house,day,x\nno,a,2026-01-01,1\n\nperhaps,a,2026-01-01,3\n")}, `y.csv, line 4, column "y": no example to train with is of the class "perhaps"`},
		"by time":        {late, Options{Labels: "y", Split: Split{Test: 0.02, By: ByTime, Column: "day"}}, `late.csv, line 62, column "y": no example to train with is of the class "perhaps"`},
		"by group":       {houses, Options{Labels: "y", Split: Split{Test: 0.3, By: ByGroup, Column: "house"}}, `houses.csv, line `},
	} {
		c.opt.Columns = map[string]Kind{}
		if c.opt.Labels != "" {
			c.opt.Columns["y"] = Category
		}
		_, _, err := Open(t.Context(), c.path, c.opt)
		if fault.KindOf(err) != fault.Invalid || fault.RemedyOf(err) == "" || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, does not say %q", name, err, c.says)
		}
	}
	for seed := range uint64(20) {
		opt := Options{Labels: "y", Columns: map[string]Kind{"y": Category}, Split: Split{Test: 0.5, Seed: seed}}
		train, test := open(t, late, opt)
		codes := whole(t, train, "y").I64()
		for class := range int64(3) {
			if !slices.Contains(codes, class) {
				t.Errorf("by chance, seed %d: no row to train with has class %d", seed, class)
			}
		}
		if n := test.Len(); n < 29 || n > 31 {
			t.Errorf("seed %d: %d of 61 rows are held", seed, n)
		}
		train, _ = open(t, here, Options{Split: Split{Test: 0.5, Seed: seed}})
		if train.Len() != 2 {
			t.Errorf("seed %d: the only picture of a class is held", seed)
		}
	}
}
