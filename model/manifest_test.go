package model

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"tandem/fault"
	"tandem/internal/blob"
	"tandem/tensor"
)

// valid is a manifest that others are made from by a change.
func valid() *Manifest {
	d := blob.Sum([]byte("x"))
	return &Manifest{
		Format: FormatVersion, Family: "vision", Task: "classify",
		Stages: []StageSpec{{KindImage, ImageFile}, {KindGraph, GraphFile}},
		Signature: Signature{
			Inputs:  []TensorSpec{{"image", "uint8", []int{-1, 28, 28, 1}}},
			Outputs: []TensorSpec{{"scores", "float32", []int{-1, 10}}}, Batch: true,
		},
		Labels:  []string{"zero", "<one>"},
		Files:   []File{{ImageFile, d, 10}, {GraphFile, d, 20}, {WeightsFile, d, 30}},
		Lineage: Lineage{Data: d, Seed: 7},
		Metrics: map[string]float64{"accuracy": 0.99},
	}
}

// TestWideSignature: as many inputs as rows may have columns.
func TestWideSignature(t *testing.T) {
	m := valid()
	m.Signature.Inputs = nil
	for i := range 1 << 14 {
		m.Signature.Inputs = append(m.Signature.Inputs, TensorSpec{fmt.Sprintf("column %d", i), "float64", []int{-1}})
	}
	if _, err := ParseManifest(m.Encode()); err != nil {
		t.Error(err)
	}
	m.Signature.Inputs = append(m.Signature.Inputs, TensorSpec{"one more", "float64", []int{-1}})
	if _, err := ParseManifest(m.Encode()); err == nil {
		t.Error("more are taken")
	}
}

func TestManifestRoundTrip(t *testing.T) {
	text := rapid.String()
	digest := rapid.Custom(func(t *rapid.T) Digest { return blob.Sum([]byte(text.Draw(t, "content"))) })
	specs := func(batch bool) *rapid.Generator[[]TensorSpec] {
		spec := rapid.Custom(func(t *rapid.T) TensorSpec {
			s := TensorSpec{rapid.StringN(1, 9, -1).Draw(t, "tensor"), tensor.DType(rapid.IntRange(1, 26).Draw(t, "type")).String(),
				rapid.SliceOfN(rapid.IntRange(-1, math.MaxInt32), 0, 4).Draw(t, "shape")}
			if batch {
				s.Shape = append([]int{-1}, s.Shape...)
			}
			return s
		})
		return rapid.SliceOfNDistinct(spec, 1, 3, func(s TensorSpec) string { return s.Name })
	}
	rapid.Check(t, func(t *rapid.T) {
		m := &Manifest{Format: FormatVersion, Family: text.Draw(t, "family"), Task: text.Draw(t, "task"), Labels: rapid.SliceOfN(text, 0, 3).Draw(t, "labels")}
		m.Signature.Batch = rapid.Bool().Draw(t, "batch")
		m.Signature.Inputs = specs(m.Signature.Batch).Draw(t, "inputs")
		m.Signature.Outputs = specs(m.Signature.Batch).Draw(t, "outputs")
		names := rapid.SliceOfNDistinct(rapid.StringMatching(`[a-z0-9][a-z0-9._-]{0,9}`), 1, 4, rapid.ID[string]).Draw(t, "names")
		slices.Sort(names)
		for _, name := range names {
			if name == ManifestFile {
				t.Skip()
			}
			m.Files = append(m.Files, File{name, digest.Draw(t, "digest"), rapid.Int64Range(0, maxFileBytes).Draw(t, "bytes")})
		}
		m.Stages = []StageSpec{{"kind", rapid.SampledFrom(names).Draw(t, "stage")}}
		m.Lineage = Lineage{Data: digest.Draw(t, "data"), Seed: rapid.Uint64().Draw(t, "seed")}
		m.Metrics = rapid.MapOfN(text, rapid.Float64Range(-1e300, 1e300), 0, 3).Draw(t, "metrics")
		data := m.Encode()
		got, err := ParseManifest(data)
		if err != nil {
			t.Fatalf("%s: %v", data, err)
		}
		if !bytes.Equal(got.Encode(), data) || got.Digest() != m.Digest() || fmt.Sprint(got.Signature) != fmt.Sprint(m.Signature) {
			t.Fatalf("wrote %s\nread  %s", data, got.Encode())
		}
	})
}

func TestParseManifestIsStrict(t *testing.T) {
	good := string(valid().Encode())
	if _, err := ParseManifest([]byte(good)); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ name, data string }{
		{"empty", ""}, {"null", "null\n"}, {"list", "[]\n"},
		{"unknown field", strings.Replace(good, `"family"`, `"extra":1,"family"`, 1)},
		{"unknown inner field", strings.Replace(good, `"seed":7`, `"seed":7,"x":1`, 1)},
		{"case", strings.Replace(good, `"family"`, `"Family"`, 1)},
		{"twice", strings.Replace(good, `"family"`, `"family":"a","family"`, 1)},
		{"space", strings.Replace(good, `,"family"`, `, "family"`, 1)},
		{"no newline", strings.TrimSpace(good)},
		{"rest", good + "{}"},
		{"escape", strings.Replace(good, `"<one>"`, `"\u003cone>"`, 1)},
	} {
		if tc.data == good {
			t.Fatalf("%s: unchanged", tc.name)
		}
		if _, err := ParseManifest([]byte(tc.data)); fault.KindOf(err) != fault.Invalid && fault.KindOf(err) != fault.Unsupported {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
	_, err := ParseManifest([]byte(`{"format":1,"files":[{"name":"a"},{"name":7}]}`))
	if text := fmt.Sprint(err); !strings.Contains(text, "manifest.files[1].name is a number, expected a string") {
		t.Error(text)
	}
	if _, err := ParseManifest(make([]byte, maxManifestBytes+1)); fault.KindOf(err) != fault.TooLarge {
		t.Errorf("too large: %v", err)
	}
}

func TestValidate(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(*Manifest)
		want   string
	}{
		{"format", func(m *Manifest) { m.Format = 2 }, "format 2"},
		{"no stages", func(m *Manifest) { m.Stages = nil }, "0 stages"},
		{"stage file", func(m *Manifest) { m.Stages[0].File = "other.json" }, `"other.json" is not listed`},
		{"stage kind", func(m *Manifest) { m.Stages[0].Kind = "a b" }, "not the kind"},
		{"order", func(m *Manifest) { m.Files[0], m.Files[1] = m.Files[1], m.Files[0] }, "not in order"},
		{"same file", func(m *Manifest) { m.Files[1] = m.Files[0] }, "listed twice"},
		{"case", func(m *Manifest) { m.Files[1].Name = "image.JSON"; slices.Reverse(m.Files[:2]) }, "case only"},
		{"path", func(m *Manifest) { m.Files[2].Name = "../weights.bin" }, "not a file name"},
		{"hidden", func(m *Manifest) { m.Files[0].Name = ".image" }, "not a file name"},
		{"middle", func(m *Manifest) { m.Files[2].Name = "wei/ghts.bin" }, "not a file name"},
		{"manifest", func(m *Manifest) { m.Files[1].Name = ManifestFile }, "not a file name"},
		{"digest", func(m *Manifest) { m.Files[0].Digest = "sha256:ABC" }, "not a digest"},
		{"size", func(m *Manifest) { m.Files[0].Bytes = -1 }, "-1 bytes"},
		{"dtype", func(m *Manifest) { m.Signature.Inputs[0].DType = "float33" }, "float33"},
		{"dim", func(m *Manifest) { m.Signature.Inputs[0].Shape[1] = -2 }, "a dimension of -2"},
		{"batch", func(m *Manifest) { m.Signature.Outputs[0].Shape[0] = 1 }, "must be -1"},
		{"names", func(m *Manifest) { m.Signature.Inputs = append(m.Signature.Inputs, m.Signature.Inputs[0]) }, "two inputs"},
		{"no outputs", func(m *Manifest) { m.Signature.Outputs = nil }, "0 outputs"},
		{"label", func(m *Manifest) { m.Labels[0] = "\xff" }, "UTF-8"},
		{"long label", func(m *Manifest) { m.Labels[0] = strings.Repeat("x", MaxTextBytes+1) }, "4097 bytes"},
		{"metric", func(m *Manifest) { m.Metrics["accuracy"] = math.NaN() }, "not a finite number"},
		{"lineage", func(m *Manifest) { m.Lineage.From = "x" }, "lineage"},
	} {
		m := valid()
		tc.change(m)
		if err := m.Validate(); err == nil || !strings.Contains(err.Error(), tc.want) || fault.RemedyOf(err) == "" {
			t.Errorf("%s: %v, want %q", tc.name, err, tc.want)
		}
	}
}

func FuzzParseManifest(f *testing.F) {
	f.Add(valid().Encode())
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := ParseManifest(data)
		if err == nil && !bytes.Equal(m.Encode(), data) {
			t.Fatalf("read %q, wrote %q", data, m.Encode())
		}
	})
}
