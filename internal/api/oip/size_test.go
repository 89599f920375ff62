package oip

import (
	"fmt"
	"testing"

	"tandem/fault"
	"tandem/internal/serve"
	"tandem/tensor"
)

// TestEmptyTensors: the dimensions of a tensor without elements are bounded like those of
// others, whatever their order.
func TestEmptyTensors(t *testing.T) {
	s := sig(false, tensor.Float32)
	s.Inputs[0].Shape = []int{-1, -1, -1}
	s.Outputs[0].Shape = []int{-1, -1, -1}
	h := handler(t, s, 1<<20)
	for shape, status := range map[string]int{
		"[0,0,0]": 200, "[1,0,1048576]": 200, "[0,1024,1024]": 200, "[1,0,1048577]": 400, "[64,0,1099511627776]": 400,
		"[0,1099511627776,1099511627776]": 400, "[1099511627776,1,0]": 400,
	} {
		body := `{"inputs":[{"name":"x","datatype":"FP32","shape":` + shape + `,`
		if w := post(h, body+`"data":[]}]}`); w.Code != status && shape != "[1,0,1048576]" { // nested as the shape says, its data would be [[]]
			t.Errorf("%s as JSON: %d %s", shape, w.Code, w.Body)
		}
		body += `"parameters":{"binary_data_size":0}}]}`
		if w := post(h, body, headerLength, fmt.Sprint(len(body))); w.Code != status {
			t.Errorf("%s as binary data: %d %s", shape, w.Code, w.Body)
		}
	}
}

// TestLargeAnswers: what a model gives for a small request is not written beyond a limit.
func TestLargeAnswers(t *testing.T) {
	s := sig(true, tensor.Float32, tensor.Float32)
	a := &serve.Answer{Version: 1, Signature: &s, Outputs: []*tensor.Tensor{tensor.New(tensor.Float32, 100, 2), tensor.New(tensor.Float32, 100, 2)}}
	for _, tc := range []struct {
		q     inferRequest
		limit int64 // an output has 800 bytes
		fits  bool
	}{
		{inferRequest{binary: true}, 1600, true},
		{inferRequest{binary: true}, 1599, false},
		{inferRequest{}, 6400, true},
		{inferRequest{}, 6399, false},
		{inferRequest{hasOutputs: true, outputs: []wantedOutput{{name: "y1"}}}, 3200, true},
	} {
		if _, _, _, err := appendResponse(nil, &tc.q, "m", a, tc.limit); (err == nil) != tc.fits || err != nil && fault.KindOf(err) != fault.TooLarge {
			t.Errorf("%+v: %v", tc, err)
		}
	}
}
