package setting_test

import (
	"bytes"
	"strings"
	"testing"

	"tandem/fault"
	"tandem/internal/setting"
)

type inner struct {
	Rate  float32  `yaml:"rate" limit:"(0,1]"`
	Name  string   `yaml:"name" one:"adam sgd"`
	Names []string `yaml:"names"`
}

type outer struct {
	Title string         `yaml:"title" help:"what it is called"`
	Count int            `yaml:"count" limit:"[1,9]"`
	Seed  uint64         `yaml:"seed"`
	Deep  inner          `yaml:"deep"`
	On    bool           `yaml:"on"`
	Table map[string]int `yaml:"table"`
	Rows  []inner        `yaml:"rows"`
	NoTag string
}

// TestErrorsSayWhereAndWhat: the line, the key, what is wrong, and the nearest name.
func TestErrorsSayWhereAndWhat(t *testing.T) {
	for _, tc := range []struct{ text, want, try string }{
		{"title: x\ncuont: 3", "f.yaml:2, cuont: there is no such key", "did you mean count?"},
		{"deep:\n  rate: 0.5\n  nmaes: []", "f.yaml:3, deep.nmaes: there is no such key", "did you mean names?"},
		{"deep: {wholly_else: 1}", "f.yaml:1, deep.wholly_else: there is no such key", "use one of: rate, name, names"},
		{"count: three", `f.yaml:1, count: "three" is not a whole number`, ""},
		{"count: 3.5", `"3.5" is not a whole number`, ""},
		{"count: \"3\"", `"3" is not a whole number`, ""},
		{"count: 99999999999999999999", "is not a whole number", ""},
		{"seed: -1", `"-1" is not a whole number from 0 on`, ""},
		{"deep:\n  rate: .inf", "is not a number", ""},
		{"deep:\n  rate: fast", `f.yaml:2, deep.rate: "fast" is not a number`, ""},
		{"on: yes", `"yes" is not true or false`, ""},
		{"count:", "f.yaml:1, count: it must be a whole number", ""},
		{"count: [1]", "it must be a whole number", ""},
		{"deep: 3", "f.yaml:1, deep: it must be a list of keys with values", ""},
		{"deep:\n  names: a", "f.yaml:2, deep.names: it must be a list, such as [a, b]", ""},
		{"table: {a: b}", `table.a: "b" is not a whole number`, ""},
		{"rows: [{rate: 1}, {rtae: 1}]", "rows[2].rtae: there is no such key", "did you mean rate?"},
		{"title: a\ntitle: b", "already defined", ""},
		{"title: a\n\"title\": b", "title", ""},
		{"- a", "it must be a list of keys with values", ""},
		{"just text", "it must be a list of keys with values", ""},
		{"a: [1", "f.yaml:1 is not valid YAML", ""},
		{"title: a\n\tcount: 3", "f.yaml:2 is not valid YAML", ""},
		{"title: a\n---\ntitle: b", "f.yaml has 2 documents", ""},
		{"title: &x a\nNoTag: *x", "anchors, aliases, merged keys and tags", "write the value itself"},
		{"title: !!binary aGk=", "anchors, aliases, merged keys and tags", ""},
		{"title: a\x00b", "f.yaml:1 has a zero byte", "save the file as UTF-8"},
		{"\ntitle: \xff\xfe", "f.yaml:2 is not UTF-8", "save the file as UTF-8"},
		{"t\x00i\x00t\x00l\x00e\x00:\x00", "f.yaml:1 has a zero byte", ""},
		{"\ufeffcuont: 3", "f.yaml:1, cuont: there is no such key", "did you mean count?"},
		{"title: |\n  a\ncuont: 3", "f.yaml:3, cuont: there is no such key", ""},
		{"? [a, b]\n: 1", "f.yaml", ""},
		{"1: a", "f.yaml:1, 1: there is no such key", ""},
		{"COUNT: 3", "f.yaml:1, COUNT: there is no such key", "did you mean count?"},
		{"title: \"a", "f.yaml", ""},
		{"deep:\nrate: 1", "f.yaml:1, deep: it must be a list of keys with values", ""},
		{"  title: a\ncount: 3", "f.yaml", ""},
		{"deep:\n  rate: .nan", "is not a number", ""},
		{"deep:\n  rate: 1e99", "f.yaml:2, deep.rate: ", ""},
		{"deep:\n  rate: 1.0000001", "f.yaml:2, deep.rate is 1.0000001, it must be above 0 and at most 1", ""},
		{"count: 0x1F", `"0x1F" is not a whole number`, ""},
		{"count: -1", "f.yaml:1, count is -1, it must be from 1 to 9", ""},
		{"on: 1", `"1" is not true or false`, ""},
		{"rows: [3]", "rows[1]: it must be a list of keys with values", ""},
		{"table: [a]", "f.yaml:1, table: it must be a list of keys with values", ""},
		{"{", "f.yaml", ""},
		{"<<<<<<< HEAD\ntitle: a\n=======\n", "f.yaml", ""},
		{"count: 0", "f.yaml:1, count is 0, it must be from 1 to 9", ""},
		{"count: 10", "count is 10, it must be from 1 to 9", ""},
		{"deep:\n  rate: 0", "f.yaml:2, deep.rate is 0, it must be above 0 and at most 1", ""},
		{"deep:\n  name: adamm", `deep.name is "adamm", it must be one of: adam, sgd`, "did you mean adam?"},
		{strings.Repeat("{a: ", 60) + strings.Repeat("}", 60), "deep in each other", ""},
	} {
		v := outer{Count: 1, Deep: inner{Rate: 1, Name: "sgd"}}
		n, err := setting.Parse("f.yaml", []byte(tc.text))
		if err == nil {
			err = n.Decode("", &v)
		}
		if err == nil {
			err = setting.Check(v, n)
		}
		if err == nil || !strings.Contains(err.Error(), tc.want) || !strings.Contains(fault.RemedyOf(err), tc.try) {
			t.Errorf("%q: %v, want %q, try %q", tc.text, err, tc.want, tc.try)
		}
		if k := fault.KindOf(err); k != fault.Invalid && k != fault.TooLarge {
			t.Errorf("%q: kind %v", tc.text, k)
		}
	}
}

// TestTextsAreTexts: what a scalar means depends on what takes it.
func TestTextsAreTexts(t *testing.T) {
	for text, want := range map[string]string{
		"title: no": "no", "title: 2024": "2024", "title: 1e3": "1e3", "title: \"\"": "", "title: 'a: b'": "a: b",
		"title: |\n  two\n  lines\n": "two\nlines\n", "title: 模型": "模型", "title:\n  below": "below", "# only a comment": "before", "": "before",
	} {
		v := outer{Title: "before"}
		n, err := setting.Parse("f", []byte(text))
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		if err := n.Decode("", &v); err != nil || v.Title != want {
			t.Errorf("%q: %q, %v, want %q", text, v.Title, err, want)
		}
	}
}

// TestPutAndSource: what a flag says stands above the file, and is known to.
func TestPutAndSource(t *testing.T) {
	n, err := setting.Parse("f.yaml", []byte("count: 3\ndeep:\n  rate: 0.5\n"))
	if err != nil {
		t.Fatal(err)
	}
	for key, text := range map[string]string{"deep.rate": "0.25", "deep.names": "[x, 'y z']", "no_tag": "t"} {
		v, err := setting.Value(text, "--set")
		if err != nil {
			t.Fatal(err)
		}
		n.Put(key, v)
	}
	var v outer
	if err := n.Decode("", &v); err != nil {
		t.Fatal(err)
	}
	if v.Deep.Rate != 0.25 || len(v.Deep.Names) != 2 || v.Deep.Names[1] != "y z" || v.NoTag != "t" {
		t.Errorf("%+v", v)
	}
	sources := map[string]string{}
	for _, s := range setting.List(v, n) {
		sources[s.Key] = s.Source.String()
	}
	for key, want := range map[string]string{"count": "f.yaml:1", "deep.rate": "--set", "deep.names": "--set", "title": "", "no_tag": "--set"} {
		if sources[key] != want {
			t.Errorf("%s comes from %q, want %q", key, sources[key], want)
		}
	}
}

// TestEncodeIsRead: what is written is read as the same.
func TestEncodeIsRead(t *testing.T) {
	v := outer{
		Title: "no: #1 \"模型\"\n", Seed: 1 << 63, Deep: inner{Rate: 1e-8, Names: []string{"a", "", "null", "1", "x, y"}},
		Table: map[string]int{"b": 2, "a c": 1}, Rows: []inner{{Name: "true"}, {Rate: 2}},
	}
	text := setting.Encode(v)
	n, err := setting.Parse("f", text)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	var got outer
	if err := n.Decode("", &got); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if again := setting.Encode(got); !bytes.Equal(again, text) || got.Title != v.Title || got.Seed != v.Seed || got.Deep.Names[4] != "x, y" {
		t.Errorf("%s\nbecame\n%s", text, again)
	}
	commented := setting.EncodeWith(v, n, func(s setting.Setting) string { return s.Source.String() + " # " + s.Help })
	if n, err = setting.Parse("g", commented); err != nil {
		t.Fatalf("%v\n%s", err, commented)
	}
	got = outer{}
	if err := n.Decode("", &got); err != nil || !bytes.Equal(setting.Encode(got), text) {
		t.Errorf("%v\n%s", err, commented)
	}
}

func TestNearest(t *testing.T) {
	known := []string{"epochs", "batch_rows", "seed", "optimizer", "learning_rate"}
	for name, want := range map[string]string{
		"epoch": "epochs", "epohcs": "epochs", "batchrows": "batch_rows", "Seed": "seed", "lerning_rate": "learning_rate", "momentum": "", "x": "", "": "",
	} {
		if got := setting.Nearest(name, known); got != want {
			t.Errorf("Nearest(%q) = %q, want %q", name, got, want)
		}
	}
}

// FuzzDecode: any text is read or refused, and what is read can be written and read
// again.
func FuzzDecode(f *testing.F) {
	for _, s := range []string{"title: x", "deep: {rate: 1, names: [a]}", "rows:\n- name: sgd\n", "a: &b c", "? x\n: y", "title: |\n x", "[", "\"", "count: 0x10"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		n, err := setting.Parse("f", []byte(text))
		if err != nil {
			return
		}
		var v, again outer
		if n.Decode("", &v) != nil {
			return
		}
		out := setting.Encode(v)
		if n, err = setting.Parse("g", out); err == nil {
			err = n.Decode("", &again)
		}
		if err != nil || !bytes.Equal(setting.Encode(again), out) {
			t.Errorf("%q was written as %q: %v", text, out, err)
		}
	})
}

func TestDifference(t *testing.T) {
	parse := func(text string) *setting.Node {
		n, err := setting.Parse("s.yaml", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	a := parse("name: x\ntrain: {epochs: 3, loss: {name: mse}}\nlayers: [dense: 4]\n")
	for _, c := range [][4]string{
		{"layers: [dense: 4]\ntrain: {loss: {name: mse}, epochs: 3}\nname: x", "", "", ""},
		{"name: x\ntrain: {epochs: 3, loss: {name: mae}}\nlayers: [dense: 4]", "train.loss.name", "mse", "mae"},
		{"name: x\ntrain: {epochs: 3, loss: {name: mse}, seed: 1}\nlayers: [dense: 4]", "train.seed", "", "1"},
		{"name: x\ntrain: {epochs: 3}\nlayers: [dense: 4]", "train.loss", "{name: mse}", ""},
		{"name: x\ntrain: {epochs: 3, loss: {name: mse}}\nlayers: [dense: 5]", "layers", "[{dense: 4}]", "[{dense: 5}]"},
	} {
		if path, x, y := setting.Difference(a, parse(c[0])); path != c[1] || x != c[2] || y != c[3] {
			t.Errorf("%q: %q, %q, %q", c[0], path, x, y)
		}
	}
}
