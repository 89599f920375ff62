package oip

// Fate is what becomes of a field of a request.
type Fate uint8

const (
	Refused  Fate = iota // its meaning cannot be honoured; so is every field that is not in the table
	Honoured             // it does what the protocol says
	Accepted             // it is not acted upon, because it cannot change the answer
)

// Place is the object that a field is in.
type Place string

const (
	InRequest      Place = "the request"
	InParameters   Place = "parameters"
	InInput        Place = "an input"
	InInputParams  Place = "an input's parameters"
	InOutput       Place = "an output"
	InOutputParams Place = "an output's parameters"
)

const (
	maxStringBytes  = 1024    // of id, names and parameters that are kept
	maxRequestItems = 1 << 14 // inputs, and outputs, of one request: a model has no more
)

// Field says what becomes of one field.
type Field struct {
	Place  Place
	Name   string
	Fate   Fate
	Sample string // a value in JSON, for the test that walks the table
	Why    string // of a field that is not honoured
}

// fields is the whole table. A field that is not in it is refused by name.
var fields = [...]Field{
	{InRequest, "id", Honoured, `"7"`, ""},
	{InRequest, "inputs", Honoured, ``, ""},
	{InRequest, "outputs", Honoured, `[{"name":"y"}]`, ""},
	{InRequest, "parameters", Honoured, `{}`, ""},
	{InRequest, "model_name", Accepted, `"m"`, "the URL names the model"},
	{InRequest, "model_version", Accepted, `"1"`, "the URL names the version"},

	{InParameters, "binary_data_output", Honoured, `true`, ""},
	{InParameters, "timeout", Honoured, `5000000`, ""}, // µs
	{InParameters, "priority", Accepted, `1`, "it changes when an answer comes, not the answer"},
	{InParameters, "content_type", Accepted, `"np"`, "a hint to codecs: datatype and shape say it all"},
	{InParameters, "sequence_id", Refused, `1`, "no model here keeps state between requests"},
	{InParameters, "sequence_start", Refused, `true`, "no model here keeps state between requests"},
	{InParameters, "sequence_end", Refused, `true`, "no model here keeps state between requests"},

	{InInput, "name", Honoured, ``, ""},
	{InInput, "shape", Honoured, ``, ""},
	{InInput, "datatype", Honoured, ``, ""},
	{InInput, "data", Honoured, ``, ""},
	{InInput, "parameters", Honoured, `{}`, ""},

	{InInputParams, "binary_data_size", Honoured, ``, ""},
	{InInputParams, "content_type", Accepted, `"np"`, "a hint to codecs: datatype and shape say it all"},
	{InInputParams, "shared_memory_region", Refused, `"r"`, "shared memory is not reachable over the network"},
	{InInputParams, "shared_memory_byte_size", Refused, `8`, "shared memory is not reachable over the network"},
	{InInputParams, "shared_memory_offset", Refused, `0`, "shared memory is not reachable over the network"},

	{InOutput, "name", Honoured, `"y"`, ""},
	{InOutput, "parameters", Honoured, `{}`, ""},
	{InOutput, "datatype", Accepted, `"FP32"`, "some clients repeat the metadata; the answer states its own"},
	{InOutput, "shape", Accepted, `[1,2]`, "some clients repeat the metadata; the answer states its own"},
	{InOutput, "data", Accepted, `[]`, "some clients send it empty"},

	{InOutputParams, "binary_data", Honoured, `true`, ""},
	{InOutputParams, "content_type", Accepted, `"np"`, "a hint to codecs: datatype and shape say it all"},
	{InOutputParams, "classification", Refused, `3`, "ask for the scores and sort them"},
	{InOutputParams, "shared_memory_region", Refused, `"r"`, "shared memory is not reachable over the network"},
	{InOutputParams, "shared_memory_byte_size", Refused, `8`, "shared memory is not reachable over the network"},
	{InOutputParams, "shared_memory_offset", Refused, `0`, "shared memory is not reachable over the network"},
}

// givenFields are the fields of the table that an object has had so far.
type givenFields [len(fields)]bool

// fate finds a field's place in the table, or the error that refuses it: by the table,
// or because it is given twice, where JSON leaves open which one counts.
func (g *givenFields) fate(place Place, name []byte) (*Field, error) {
	for i := range fields {
		f := &fields[i]
		if f.Place != place || f.Name != string(name) {
			continue
		}
		if f.Fate == Refused {
			return nil, invalid("field %q of %s is not supported: %s", name, place, f.Why)
		}
		if g[i] {
			return nil, invalid("field %q of %s is given twice", name, place)
		}
		g[i] = true
		return f, nil
	}
	return nil, invalid("unknown field %.100q in %s", name, place)
}
