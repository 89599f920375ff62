package oip

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"tandem/internal/serve"
	"tandem/model"
	"tandem/tensor"
)

// TestFloat32IsCorrectlyRounded compares with strconv on numbers of every length, and
// on the middles between two float32, where a double rounding would show.
func TestFloat32IsCorrectlyRounded(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	check := func(text string) {
		t.Helper()
		n, next := scanNumber([]byte(text), 0)
		if next != len(text) {
			t.Fatalf("%s: scanned %d bytes", text, next)
		}
		got, ok := n.float32([]byte(text))
		want, err := strconv.ParseFloat(text, 32)
		if ok != (err == nil) || ok && math.Float32bits(got) != math.Float32bits(float32(want)) {
			t.Fatalf("%s: got %v %v, want %v %v", text, got, ok, want, err)
		}
	}
	for range 200_000 {
		f := math.Float32frombits(rng.Uint32() & 0x7fffffff)
		if f != f || math.IsInf(float64(f), 0) {
			continue
		}
		next := math.Float32frombits(math.Float32bits(f) + 1)
		middle := (float64(f) + float64(next)) / 2
		check(strconv.FormatFloat(float64(f), 'g', -1, 64))
		check(strconv.FormatFloat(middle, 'g', 17+rng.IntN(12), 64))
		check(strconv.FormatFloat(middle*(1+(rng.Float64()-.5)*1e-15), 'e', 10+rng.IntN(15), 64))
		check(fmt.Sprintf("-%d.%de%d", rng.IntN(1000), rng.Uint64(), rng.IntN(60)-30))
		check(fmt.Sprintf("%d%d.%d", rng.Uint64()>>1+1, rng.Uint64(), rng.IntN(10)))
	}
}

func TestNumbersFollowJSON(t *testing.T) {
	for _, text := range []string{
		"0", "-0", "1", "10", "0.5", "1e5", "1E+5", "1.5e-5", "01", "-", "+1", ".5", "5.", "1e", "1e+", "--1", "0x1", "1_0", "Inf", "NaN", "",
		"18446744073709551615", "18446744073709551616", "99999999999999999999999999", "1e999999999999",
	} {
		_, next := scanNumber([]byte(text), 0)
		if got, want := next == len(text), json.Valid([]byte(text)); got != want {
			t.Errorf("%q: got %v, want %v", text, got, want)
		}
	}
}

// FuzzInferRequest checks that no bytes make the parser panic, that what it takes is
// JSON, and that a tensor that was read is written and read again as it was.
func FuzzInferRequest(f *testing.F) {
	for _, seed := range []string{
		`{"id":"1","inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data":[1,2.5]}],"outputs":[{"name":"y"}]}`,
		`{"inputs":[{"name":"x","data":[["a"],["\u00e9"]],"shape":[2,1],"datatype":"BYTES","parameters":{"content_type":"str"}}]}`,
		`{"inputs":[{"name":"x","shape":[2],"datatype":"UINT8","data":[1,256]}],"parameters":{"timeout":1}}`,
		`{"inputs":[{"name":"x","shape":[2],"datatype":"BOOL","data":[true,false]}]}`,
		`{"inputs":[{"name":"x","shape":[1],"datatype":"INT64","parameters":{"binary_data_size":8}}]}12345678`,
		`{"inputs":[{"name":"x","shape":[0,3],"datatype":"FP64","data":[]}]}`,
	} {
		f.Add([]byte(seed), uint16(bytes.LastIndexByte([]byte(seed), '}')+1))
	}
	f.Fuzz(func(t *testing.T, body []byte, split uint16) {
		n := min(int(split), len(body))
		q, err := parseInfer(body[:n:n], body[n:])
		if err != nil {
			return
		}
		if !json.Valid(body[:n]) {
			t.Fatalf("taken, but not JSON: %q", body[:n])
		}
		for _, in := range q.inputs {
			a := serve.Answer{
				Version: 1, Signature: &model.Signature{Outputs: []model.TensorSpec{{Name: in.Name, DType: in.Tensor.DType().String()}}},
				Outputs: []*tensor.Tensor{in.Tensor},
			}
			for _, binary := range []bool{false, true} {
				out, header, _, err := appendResponse(nil, &inferRequest{binary: binary}, "m", &a, math.MaxInt64)
				if err != nil {
					if binary {
						t.Fatal(err)
					}
					continue // JSON cannot carry it
				}
				again := strings.Replace(string(out[:header]), `"model_version":"1","outputs"`, `"model_version":"1","inputs"`, 1)
				back, err := parseInfer([]byte(again), out[header:])
				if err != nil {
					if strings.Contains(again, "null") {
						continue
					}
					t.Fatalf("%s: %v", again, err)
				}
				x := back.inputs[0].Tensor
				if !x.Shape().Equal(in.Tensor.Shape()) || !bytes.Equal(x.Bytes(), in.Tensor.Bytes()) || fmt.Sprint(x.Strings()) != fmt.Sprint(in.Tensor.Strings()) {
					t.Fatalf("%v became %v: %s", in.Tensor, x, again)
				}
			}
		}
	})
}

func BenchmarkParseFloats(b *testing.B) {
	for _, digits := range []int{8, 17} {
		rng := rand.New(rand.NewPCG(1, 2))
		var data []string
		for range 100_000 {
			data = append(data, strconv.FormatFloat(float64(rng.Float32()), 'g', digits, 64))
		}
		body := []byte(`{"inputs":[{"name":"x","shape":[100000],"datatype":"FP32","data":[` + strings.Join(data, ", ") + `]}]}`)
		b.Run(fmt.Sprint(digits, "digits"), func(b *testing.B) {
			b.SetBytes(int64(len(body)))
			for b.Loop() {
				if _, err := parseInfer(body, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
