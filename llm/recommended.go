package llm

import (
	"encoding/json"

	"tandem/fault"
	"tandem/model/gguf"
)

// recommended is how the makers of a model would have it sampled, as its files say;
// what they leave out is nil.
type recommended struct {
	Temperature *float64 `json:"temperature"`
	TopK        *float64 `json:"top_k"`
	TopP        *float64 `json:"top_p"`
	MinP        *float64 `json:"min_p"`
	Repetition  *float64 `json:"repetition_penalty"`
}

// readJSON reads generation_config.json. Its do_sample is ignored, as servers do: who
// wants the most probable token asks for a temperature of 0.
func (r *recommended) readJSON(text []byte) error {
	if err := json.Unmarshal(text, r); err != nil {
		return fault.JSON("", text, err)
	}
	return nil
}

// readGGUF reads the keys general.sampling of a GGUF file.
func (r *recommended) readGGUF(m *gguf.Metadata) error {
	for key, to := range map[string]**float64{"temp": &r.Temperature, "top_k": &r.TopK, "top_p": &r.TopP, "min_p": &r.MinP, "penalty_repeat": &r.Repetition} {
		switch v, err := number(m, "general.sampling."+key); {
		case err == nil:
			*to = &v
		case fault.KindOf(err) != fault.NotFound:
			return err
		}
	}
	return nil
}

// number reads a float, or an integer as one.
func number(m *gguf.Metadata, key string) (float64, error) {
	if i, err := m.Int(key); err == nil {
		return float64(i), nil
	}
	return m.Float(key)
}

// Sampling is how the makers of the model would have it sampled, as its files say: by
// generation_config.json, or the keys general.sampling of a GGUF file. What they leave
// out, or what has no meaning here, changes nothing: the temperature is 1.
func (m *Model) Sampling() Sampling {
	s := Sampling{Temperature: 1, TopP: 1, Logprobs: -1}
	set := func(to *float64, from *float64) {
		if from == nil {
			return
		}
		was := *to
		if *to = *from; s.check(m.config.Vocab) != nil {
			*to = was
		}
	}
	set(&s.Temperature, m.sampling.Temperature)
	if p := m.sampling.TopP; p != nil {
		given := TopP(*p)
		set(&s.TopP, &given)
	}
	set(&s.MinP, m.sampling.MinP)
	set(&s.Repetition, m.sampling.Repetition)
	if k := m.sampling.TopK; k != nil && *k >= 0 && *k <= float64(m.config.Vocab) {
		s.TopK = int(*k)
	}
	return s
}
