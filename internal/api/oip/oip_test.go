package oip

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"tandem/internal/serve"
	"tandem/internal/tenant"
	"tandem/model"
	"tandem/tensor"
)

// echo is a Runner that answers its inputs: y for x, and so on.
type echo struct{ signature model.Signature }

func (e echo) Signature() model.Signature { return e.signature }
func (e echo) MemoryBytes() int64         { return 1 }
func (e echo) Close() error               { return nil }
func (e echo) Run(_ context.Context, in []*tensor.Tensor) ([]*tensor.Tensor, error) {
	out := make([]*tensor.Tensor, len(in))
	for i := range in {
		out[i] = in[i].Clone()
	}
	return out, nil
}

// sig has an input x and an output y of each type: x0, y0, x1, …; the first are x, y.
func sig(batch bool, types ...tensor.DType) model.Signature {
	s := model.Signature{Batch: batch}
	for i, d := range types {
		suffix := ""
		if i > 0 {
			suffix = strconv.Itoa(i)
		}
		s.Inputs = append(s.Inputs, model.TensorSpec{Name: "x" + suffix, DType: d.String(), Shape: []int{-1, 2}})
		s.Outputs = append(s.Outputs, model.TensorSpec{Name: "y" + suffix, DType: d.String(), Shape: []int{-1, 2}})
	}
	return s
}

func handler(t testing.TB, s model.Signature, maxBody int64) http.Handler {
	t.Helper()
	e, err := serve.New(serve.Config{Load: func(context.Context, *model.Manifest, func(model.File) (string, error)) (serve.Runner, error) {
		return echo{s}, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	p, err := e.Prepare(t.Context(), serve.Artifact{Target: serve.Target{Tenant: "acme", Model: "m", Version: 3}, Manifest: &model.Manifest{}})
	if err != nil {
		t.Fatal(err)
	}
	p.Commit()
	svc := New(e, func() error { return nil }, "1.2", maxBody)
	mux := http.NewServeMux()
	for pattern, h := range map[string]func(http.ResponseWriter, *http.Request, tenant.Principal) error{
		"GET /v2": svc.Server, "GET /v2/models/{model}": svc.Model, "GET /v2/models/{model}/ready": svc.ModelReady,
		"POST /v2/models/{model}/infer": svc.Infer, "POST /v2/models/{model}/versions/{version}/infer": svc.Infer,
	} {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			if err := h(w, r, tenant.Principal{Tenant: "acme", Key: "k"}); err != nil {
				WriteError(w, "id", err)
			}
		})
	}
	return mux
}

func post(h http.Handler, body string, headers ...string) *httptest.ResponseRecorder {
	return postTo(h, "/v2/models/m/infer", body, headers...)
}

func postTo(h http.Handler, path, body string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest("POST", path, strings.NewReader(body))
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestInferJSON(t *testing.T) {
	for _, tc := range []struct {
		d          tensor.DType
		data, want string
	}{
		{tensor.Float32, `[[1,2.5],[-0.0,1e-7]]`, `1,2.5,-0,1e-07`},
		{tensor.Float32, ` [ 0.1 , 0.10000000149011612,16777217, 3.4028235e38 ] `, `0.1,0.1,1.6777216e+07,3.4028235e+38`},
		{tensor.Float64, `[0.1,1e308,5e-324,123456789.125]`, `0.1,1e+308,5e-324,1.23456789125e+08`},
		{tensor.Int64, `[-9223372036854775808,9223372036854775807,0,-1]`, `-9223372036854775808,9223372036854775807,0,-1`},
		{tensor.Uint64, `[18446744073709551615,0,1,2]`, `18446744073709551615,0,1,2`},
		{tensor.Int8, `[-128,127,0,1]`, `-128,127,0,1`},
		{tensor.Uint8, `[[0,255],[1,2]]`, `0,255,1,2`},
		{tensor.Int16, `[-32768,32767,0,1]`, `-32768,32767,0,1`},
		{tensor.Uint16, `[0,65535,0,1]`, `0,65535,0,1`},
		{tensor.Int32, `[-2147483648,2147483647,0,1]`, `-2147483648,2147483647,0,1`},
		{tensor.Uint32, `[0,4294967295,0,1]`, `0,4294967295,0,1`},
		{tensor.Bool, `[[true,false],[false,true]]`, `true,false,false,true`},
		{tensor.String, `[["a\n\"\\","\u00e9\ud83d\ude00"],["","日本"]]`, `"a\u000a\"\\","é😀","","日本"`},
	} {
		name := datatypeOf(tc.d)
		h := handler(t, sig(true, tc.d), 1<<20)
		for _, body := range []string{
			`{"id":"a\"b","inputs":[{"name":"x","shape":[2,2],"datatype":"` + name + `","data":` + tc.data + `}]}`,
			`{"inputs":[{"data":` + tc.data + `,"datatype":"` + name + `","shape":[2,2],"name":"x"}],"id":"a\"b"}`,
		} {
			w := post(h, body)
			want := `{"model_name":"m","model_version":"3","id":"a\"b","outputs":[{"name":"y","datatype":"` + name + `","shape":[2,2],"data":[` + tc.want + `]}]}`
			if w.Code != 200 || w.Body.String() != want || !json.Valid(w.Body.Bytes()) {
				t.Errorf("%s: %d\n got %s\nwant %s", name, w.Code, w.Body, want)
			}
		}
	}
}

func TestBadRequestsSayWhatIsWrong(t *testing.T) {
	f32, u8 := handler(t, sig(true, tensor.Float32), 1<<20), handler(t, sig(true, tensor.Uint8), 1<<20)
	in := func(datatype, shape, data string) string {
		return `{"inputs":[{"name":"x","shape":` + shape + `,"datatype":"` + datatype + `","data":` + data + `}]}`
	}
	deep := strings.Repeat("[", 100_000)
	for _, tc := range []struct {
		h      http.Handler
		body   string
		status int
		want   string
	}{
		{u8, in("UINT8", "[1,2]", "[1,256]"), 400, `input "x": element 1 is 256, which is not a UINT8`},
		{u8, in("UINT8", "[1,2]", "[1,1.0]"), 400, `input "x": element 1 is 1.0, which is not a UINT8`},
		{u8, in("UINT8", "[1,2]", "[1,-1]"), 400, `element 1 is -1, which is not a UINT8`},
		{u8, in("UINT8", "[1,2]", "[true,1]"), 400, `element 0 begins with 't', which is not a UINT8`},
		{u8, in("INT64", "[1,2]", "[1,9223372036854775808]"), 400, `element 1 is 9223372036854775808, which is not a INT64`},
		{u8, in("INT64", "[1,2]", "[1,2]"), 400, `input "x" has elements of type int64: expected uint8`},
		{f32, in("FP32", "[1,2]", "[1,1e39]"), 400, `element 1 is 1e39, which is not a FP32`},
		{f32, in("FP32", "[1,2]", "[1,NaN]"), 400, `element 1 is NaN, which JSON numbers cannot be: send the tensor as binary data`},
		{f32, in("FP32", "[1,2]", `[1,"2"]`), 400, `element 1 begins with '"', which is not a FP32`},
		{f32, in("FP32", "[1,2]", "[1,01]"), 400, `element 1 begins with '0', which is not a FP32`},
		{f32, in("FP32", "[1,2]", "[1,.5]"), 400, `element 1 begins with '.'`},
		{f32, in("FP32", "[1,2]", "[1,0x10]"), 400, `'x' where , is expected`},
		{f32, in("FP32", "[1,2]", "[1]"), 400, `data has 1 elements, and shape [1,2] has 2`},
		{f32, in("FP32", "[1,2]", "[1,2,3]"), 400, `data has more than 2 elements, and shape [1,2] has 2`},
		{f32, in("FP32", "[2,2]", "[[1,2,3],[4]]"), 400, `depth 2 has 3 members, and shape [2,2] says 2`},
		{f32, in("FP32", "[2,1]", "[[],[1,2]]"), 400, `depth 2 has 0 members, and shape [2,1] says 1`},
		{f32, in("FP32", "[2,2]", "[[1,2],3,4]"), 400, `element 2 is at depth 1`},
		{f32, in("FP32", "[2]", "[[1,2]]"), 400, `data is nested deeper than its shape [2]`},
		{f32, in("FP32", "[1,2]", deep), 400, `data is nested deeper than its shape [1,2]`},
		{f32, `{"inputs":[{"name":"x","data":` + deep + `}]}`, 400, `nested more than 64 deep`},
		{f32, `{"inputs":` + deep + `}`, 400, `'[' where { is expected`},
		{f32, `{"parameters":{"a":` + deep + `}}`, 400, `unknown field "a" in parameters`},
		{f32, `{"parameters":{"priority":` + deep + `}}`, 400, `'[' where a string, number or boolean is expected`},
		{f32, in("FP32", "[1000000000,1000000000]", "[1]"), 400, `has more elements than the request has data`},
		{f32, in("FP32", "[-1,2]", "[1]"), 400, `dimension 0 of its shape is not a size`},
		{f32, in("FP32", "[1.5]", "[1]"), 400, `dimension 0 of its shape is not a size`},
		{f32, in("FLOAT", "[1,2]", "[1,2]"), 400, `input "x": "FLOAT" is not a datatype`},
		{f32, in("FP16", "[1,2]", "[1,2]"), 400, `FP16 travels only in the binary extension`},
		{f32, in("FP32", "[1,3]", "[1,2,3]"), 400, `input "x" has shape [1,3]: dimension 1 is 3, expected 2`},
		{f32, ``, 400, `the JSON ends where { is expected`},
		{f32, `[]`, 400, `'[' where { is expected`},
		{f32, `{}`, 400, `the request has no inputs`},
		{f32, `{"inputs":[]}`, 400, `input "x" is missing: the model's inputs are "x"`},
		{f32, `{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32"}]}`, 400, `input "x" has neither data nor the parameter binary_data_size`},
		{f32, `{"inputs":[{"name":"x","shape":[1,2],"shape":[1,2]}]}`, 400, `field "shape" of an input is given twice`},
		{f32, `{"parameters":{"timeout":1,"timeout":2},"inputs":[]}`, 400, `field "timeout" of parameters is given twice`},
		{f32, `{"parameters":{"timeout":-1},"inputs":[]}`, 400, `parameter "timeout" is -1: expected a number of microseconds`},
		{f32, `{"parameters":{"binary_data_output":1},"inputs":[]}`, 400, `parameter "binary_data_output" is 1: expected true or false`},
		{f32, `{"inputs":[],"inputs":[]}`, 400, `field "inputs" of the request is given twice`},
		{f32, `{"inputs":[{"name":"\xff"}]}`, 400, `a string has an escape`},
		{f32, "{\"inputs\":[{\"name\":\"\xff\"}]}", 400, `a string is not UTF-8`},
		{f32, in("FP32", "[1,2]", "[1,2]") + "x", 400, `'x' after the end of the JSON`},
		{f32, strings.Replace(in("FP32", "[1,2]", "[1,2]"), `{"inputs"`, `{"outputs":[{"name":"z"}],"inputs"`, 1), 400, `the model has no output "z": its outputs are "y"`},
		{f32, `{"outputs":[{"name":"y","parameters":{"classification":3}}],"inputs":[]}`, 400, `field "classification" of an output's parameters is not supported`},
		{f32, `{"parameters":{"sequence_id":3},"inputs":[]}`, 400, `field "sequence_id" of parameters is not supported`},
		{f32, `{"outputs":[{"name":"y","shape":[}]}],"inputs":[]}`, 400, `field "shape" is not JSON`},
		{f32, `{"inputs":[` + strings.Repeat(`{"name":"x","shape":[0],"datatype":"FP32","data":[]},`, 17000) + `{}]}`, 413, `more than 16384 inputs`},
		{f32, strings.Repeat(" ", 1<<20) + "{}", 413, `the limit of 1048576 bytes`},
	} {
		w := post(tc.h, tc.body)
		var e struct{ Error string }
		if err := json.Unmarshal(w.Body.Bytes(), &e); err != nil || w.Code != tc.status || !strings.Contains(e.Error, tc.want) {
			t.Errorf("%.80s\n got %d %s\nwant %d %s", tc.body, w.Code, w.Body, tc.status, tc.want)
		}
	}
}

// TestFieldTable sends every field of the table, and checks that its fate is what the
// table says.
func TestFieldTable(t *testing.T) {
	h := handler(t, sig(true, tensor.Float32), 1<<20)
	const input = `"name":"x","shape":[1,2],"datatype":"FP32","data":[1,2]`
	build := func(place Place, member string) string {
		at := map[Place]string{}
		at[place] = member
		sep := func(s string) string {
			if s != "" {
				return "," + s
			}
			return ""
		}
		if place == InParameters {
			at[InRequest] = `"parameters":{` + member + `}`
		}
		if place == InInputParams {
			at[InInput] = `"parameters":{` + member + `}`
		}
		if place == InOutput && !strings.HasPrefix(member, `"name"`) {
			at[InOutput] = `"name":"y",` + member
		}
		if place == InOutputParams {
			at[InOutput] = `"name":"y","parameters":{` + member + `}`
		}
		outputs := ""
		if at[InOutput] != "" {
			outputs = `"outputs":[{` + at[InOutput] + `}],`
		}
		return `{` + outputs + `"inputs":[{` + input + sep(at[InInput]) + `}]` + sep(at[InRequest]) + `}`
	}
	plain := post(h, build(InRequest, "")).Body.String()
	for _, f := range fields {
		if f.Sample == "" {
			continue // every other request has it
		}
		w := post(h, build(f.Place, strconv.Quote(f.Name)+":"+f.Sample))
		switch f.Fate {
		case Refused:
			if want := fmt.Sprintf(`field \"%s\" of %s is not supported: %s`, f.Name, f.Place, f.Why); w.Code != 400 || !strings.Contains(w.Body.String(), want) {
				t.Errorf("%s of %s: %d %s", f.Name, f.Place, w.Code, w.Body)
			}
		case Accepted:
			if w.Code != 200 || w.Body.String() != plain {
				t.Errorf("%s of %s: %d %s", f.Name, f.Place, w.Code, w.Body)
			}
		case Honoured:
			if w.Code != 200 {
				t.Errorf("%s of %s: %d %s", f.Name, f.Place, w.Code, w.Body)
			}
		}
		if f.Fate != Honoured && f.Why == "" {
			t.Errorf("%s of %s: the table does not say why", f.Name, f.Place)
		}
	}
	for _, place := range []Place{InRequest, InParameters, InInput, InInputParams, InOutput, InOutputParams} {
		w := post(h, build(place, `"nonsense":1`))
		if want := `unknown field \"nonsense\" in ` + string(place); w.Code != 400 || !strings.Contains(w.Body.String(), want) {
			t.Errorf("unknown field in %s: %d %s", place, w.Code, w.Body)
		}
	}
}

func TestBinaryTensors(t *testing.T) {
	h := handler(t, sig(true, tensor.Float32, tensor.String, tensor.Float16, tensor.Bool), 1<<20)
	var raw []byte
	for _, v := range []float32{1, 2, float32(math.NaN()), float32(math.Inf(1))} {
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(v))
	}
	sizes := []int{len(raw)}
	for _, s := range []string{"a", "", "\xff\xfe", "long one"} {
		raw = append(binary.LittleEndian.AppendUint32(raw, uint32(len(s))), s...)
	}
	sizes = append(sizes, len(raw)-sizes[0], 8, 4)
	raw = append(raw, 1, 2, 3, 4, 5, 6, 7, 8, 0, 1, 1, 0)
	types := []string{"FP32", "BYTES", "FP16", "BOOL"}
	header := func(tail string) string {
		var in []string
		for i, name := range []string{"x", "x1", "x2", "x3"} {
			in = append(in, fmt.Sprintf(`{"name":%q,"shape":[2,2],"datatype":%q,"parameters":{"binary_data_size":%d}}`, name, types[i], sizes[i]))
		}
		return `{"inputs":[` + strings.Join(in, ",") + `]` + tail + `}`
	}
	send := func(json string, raw []byte) *httptest.ResponseRecorder {
		return post(h, json+string(raw), headerLength, strconv.Itoa(len(json)), "Content-Type", "application/octet-stream")
	}
	w := send(header(`,"parameters":{"binary_data_output":true}`), raw)
	n, _ := strconv.Atoi(w.Header().Get(headerLength))
	if w.Code != 200 || n == 0 || w.Body.String()[n:] != string(raw) || w.Header().Get("Content-Type") != "application/octet-stream" {
		t.Fatalf("%d %v %q", w.Code, w.Header(), w.Body)
	}
	if want := `{"name":"y1","datatype":"BYTES","shape":[2,2],"parameters":{"binary_data_size":27}}`; !strings.Contains(w.Body.String()[:n], want) {
		t.Errorf("got %s", w.Body.String()[:n])
	}
	// A subset, one of them in JSON although binary is the default.
	w = send(header(`,"parameters":{"binary_data_output":true},"outputs":[{"name":"y3","parameters":{"binary_data":false}},{"name":"y2"}]`), raw)
	n, _ = strconv.Atoi(w.Header().Get(headerLength))
	if want := `"outputs":[{"name":"y3","datatype":"BOOL","shape":[2,2],"data":[false,true,true,false]},{"name":"y2"`; !strings.Contains(w.Body.String(), want) || w.Body.String()[n:] != "\x01\x02\x03\x04\x05\x06\x07\x08" {
		t.Errorf("subset: %q", w.Body)
	}
	for _, tc := range []struct {
		tail, want string
		raw        []byte
	}{
		{`,"outputs":[{"name":"y"}]`, `output \"y\": element 3 is +Inf, which JSON cannot carry (ask for the output with the parameter binary_data: true)`, raw},
		{`,"outputs":[{"name":"y1"}]`, `output \"y1\": element 2 is not UTF-8`, raw},
		{`,"outputs":[{"name":"y2"}]`, `output \"y2\" is FP16, which JSON cannot carry`, raw},
		{``, `the body has 1 bytes more than the inputs' binary_data_size says`, append(raw, 0)},
		{``, `input \"x3\": binary_data_size is 4, and 3 bytes are left of the body`, raw[:len(raw)-1]},
		{``, `input \"x3\": element 3 is byte 9, and a BOOL is 0 or 1`, append(raw[:len(raw)-1:len(raw)-1], 9)},
	} {
		if w := send(header(tc.tail), tc.raw); w.Code != 400 || !strings.Contains(w.Body.String(), tc.want) {
			t.Errorf("got %d %s, want %s", w.Code, w.Body, tc.want)
		}
	}
	for _, length := range []string{"-1", "x", "99999999"} {
		if w := post(h, "{}", headerLength, length); w.Code != 400 || !strings.Contains(w.Body.String(), headerLength) {
			t.Errorf("%s: %d %s", length, w.Code, w.Body)
		}
	}
	x := `{"inputs":[{"name":"x","shape":[2,2],"datatype":"FP32","parameters":{"binary_data_size":15}}]}`
	if w := post(h, x+strings.Repeat("a", 15), headerLength, strconv.Itoa(len(x))); w.Code != 400 || !strings.Contains(w.Body.String(), "binary_data_size is 15, and FP32 of shape [2,2] takes 16 bytes") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestNaNIsNull(t *testing.T) {
	h := handler(t, sig(true, tensor.Float32), 1<<20)
	x := `{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","parameters":{"binary_data_size":8}}]}`
	w := post(h, x+"\x00\x00\xc0\x7f\x00\x00\x80\x3f", headerLength, strconv.Itoa(len(x)))
	if !strings.Contains(w.Body.String(), `"data":[null,1]`) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestEncodingsAndMediaTypes(t *testing.T) {
	h := handler(t, sig(true, tensor.Float32), 4096)
	const body = `{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data":[1,2]}]}`
	zip := func(w io.WriteCloser, buf *bytes.Buffer, body string) string {
		_, _ = io.WriteString(w, body)
		_ = w.Close()
		return buf.String()
	}
	gz := func(body string) string { var b bytes.Buffer; return zip(gzip.NewWriter(&b), &b, body) }
	var zb bytes.Buffer
	zl := zip(zlib.NewWriter(&zb), &zb, body)
	for _, tc := range []struct {
		body, encoding, media string
		status                int
		want                  string
	}{
		{gz(body), "gzip", "", 200, ""},
		{zl, "deflate", "application/json; charset=utf-8", 200, ""},
		{zl[2 : len(zl)-4], "deflate", "", 200, ""},
		{body, "identity", "application/x-www-form-urlencoded", 200, ""},
		{body, "gzip", "", 400, "the body is not valid gzip"},
		{gz(body)[:30], "gzip", "", 400, "the body is not valid gzip"},
		{body, "br", "", 415, `Content-Encoding "br" is not supported`},
		{gz(body + strings.Repeat(" ", 1<<20)), "gzip", "", 413, "expands to more than the limit of 4096 bytes"},
		{body, "", "text/html", 415, `Content-Type "text/html" is not supported`},
	} {
		w := post(h, tc.body, "Content-Encoding", tc.encoding, "Content-Type", tc.media)
		var e struct{ Error string }
		_ = json.Unmarshal(w.Body.Bytes(), &e)
		if w.Code != tc.status || !strings.Contains(e.Error, tc.want) {
			t.Errorf("%s %s: got %d %s, want %d %s", tc.encoding, tc.media, w.Code, w.Body, tc.status, tc.want)
		}
	}
}

func TestMetadataAndVersions(t *testing.T) {
	h := handler(t, sig(true, tensor.Float32, tensor.String), 4096)
	get := func(path string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		return w
	}
	for path, want := range map[string]string{
		"/v2?x=y":             `200 {"name":"tandem","version":"1.2","extensions":["binary_tensor_data"]}`,
		"/v2/models/m":        `200 {"name":"m","versions":["3"],"platform":"tandem","inputs":[{"name":"x","datatype":"FP32","shape":[-1,2]},{"name":"x1","datatype":"BYTES","shape":[-1,2]}],"outputs":[{"name":"y","datatype":"FP32","shape":[-1,2]},{"name":"y1","datatype":"BYTES","shape":[-1,2]}]}`,
		"/v2/models/m/ready":  `200 {"name":"m","ready":true}`,
		"/v2/models/no/ready": `404 {"error":"no model \"no\" is deployed (deploy it first)"}`,
	} {
		w := get(path)
		if got := fmt.Sprint(w.Code, " ", w.Body); got != want {
			t.Errorf("%s\n got %s\nwant %s", path, got, want)
		}
	}
	for version, want := range map[string]string{"2": "version 3 is", "x": "is not a version", "0": "is not a version"} {
		if w := postTo(h, "/v2/models/m/versions/"+version+"/infer", "{}"); w.Code != 404 || !strings.Contains(w.Body.String(), want) {
			t.Errorf("version %s: %d %s", version, w.Code, w.Body)
		}
	}
}
