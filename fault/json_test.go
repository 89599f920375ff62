package fault

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

// TestJSON: where, what came and what is expected; never a type of Go.
func TestJSON(t *testing.T) {
	type part struct {
		Kind string            `json:"kind"`
		Tags map[string][]bool `json:"tags"`
	}
	var body struct {
		N     int              `json:"n"`
		Small int8             `json:"small"`
		Size  uint16           `json:"size"`
		X     float64          `json:"x"`
		Y     *float32         `json:"y"`
		On    bool             `json:"on"`
		List  []part           `json:"list"`
		Deep  map[string][]int `json:"deep"`
		Odd   struct {
			Part part `json:"part"`
		} `json:"odd"`
	}
	for text, want := range map[string]string{
		`[]`:                                  "the body is a list, expected an object",
		` "a" `:                               "the body is a string, expected an object",
		`{"n":"5"}`:                           "n is a string, expected an integer",
		`{"n":5.5}`:                           "n is 5.5, expected an integer",
		`{"n":99999999999999999999}`:          "n is 99999999999999999999, expected an integer from -9223372036854775808 to 9223372036854775807",
		`{"small":-129 }`:                     "small is -129, expected an integer from -128 to 127",
		`{"size":65536}`:                      "size is 65536, expected an integer from 0 to 65535",
		`{"x":true}`:                          "x is a boolean, expected a number",
		`{"x":1e999}`:                         "x is 1e999, expected a number that 64 bits hold",
		`{"y":1e39}`:                          "y is 1e39, expected a number that 32 bits hold",
		`{"y":{}}`:                            "y is an object, expected a number",
		`{"on" : 0 , "n":1}`:                  "on is a number, expected a boolean",
		`{"list":{}}`:                         "list is an object, expected a list",
		`{"list":[{"kind":"[{\"a"},{},5]}`:    "list[2] is a number, expected an object",
		`{"list":[{"kind":"a"},{"kind":[]}]}`: "list[1].kind is a list, expected a string",
		`{"list":[{},{"tags":{"a":[true],"b":[true,false,"no",1]}}]}`: "list[1].tags.b[2] is a string, expected a boolean",
		`{"deep":{"n":[1],"m":[[]]}}`:                                 "deep.m[0] is a list, expected an integer",
		`{"odd":{"part":{"kind":"k","tags":{"":[1]}}}}`:               "odd.part.tags.[0] is a number, expected a boolean",
		`{"n":1,"odd":{"part":7}}`:                                    "odd.part is a number, expected an object",
		`{"n":`:                                                       "the body is not JSON: it ends too early",
		``:                                                            "the body is not JSON: it ends too early",
		`{"n":x}`:                                                     "the body is not JSON: invalid character 'x' looking for beginning of value at byte 6",
		`{"colour":1}`:                                                `the body is not as expected: unknown field "colour"`,
	} {
		d := json.NewDecoder(bytes.NewReader([]byte(text)))
		d.DisallowUnknownFields()
		err := d.Decode(&body)
		if err == nil {
			t.Errorf("%s is taken", text)
			continue
		}
		got := JSON("", []byte(text), err).(*Error).Message()
		if got != want {
			t.Errorf("%s: %q, expected %q", text, got, want)
		}
		if unmarshal := json.Unmarshal([]byte(text), &body); unmarshal != nil && !strings.Contains(text, "x}") && len(text) > 5 {
			if got := JSON("", []byte(text), unmarshal).(*Error).Message(); got != want {
				t.Errorf("%s by Unmarshal: %q, expected %q", text, got, want)
			}
		}
	}
	if got := JSON("messages", []byte(`[{"n":"a"}]`), json.Unmarshal([]byte(`[{"n":"a"}]`), &[]struct{ N int }{})).(*Error).Message(); got != "messages[0].n is a string, expected an integer" {
		t.Errorf("%q", got)
	}
}
