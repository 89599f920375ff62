package llm

import (
	"encoding/json"
	"slices"

	"tandem/fault"
	"tandem/model/gguf"
	"tandem/processor/tokenizer"
)

// Message is one turn of a conversation.
type Message struct {
	Role    string `json:"role"` // system, user or assistant
	Content string `json:"content"`
}

// Tokenizer is the model's.
func (m *Model) Tokenizer() *tokenizer.Tokenizer { return m.tokenizer }

// Encode turns text into tokens, with those around it that the model expects. Control
// tokens in it, such as <|im_start|>, are such.
func (m *Model) Encode(text string) []int { return m.tokenizer.Encode(text, true) }

// TokenBytes is what a token spells.
func (m *Model) TokenBytes(id int) []byte { return m.tokenizer.Bytes(id) }

// Chats tells whether the model has a template for conversations.
func (m *Model) Chats() bool { return false }

// Chat turns a conversation into the tokens that ask for an answer, by the model's own
// template; arguments are what templates may be told, such as enable_thinking. A model
// without a template is Unsupported.
func (m *Model) Chat(messages []Message, arguments map[string]any) ([]int, error) {
	return nil, fault.New("llm.chat", fault.Unsupported, "the model has no chat template").Try("use a model that was trained to chat, or ask for a completion")
}

// ggufText reads tokenizer and template of a GGUF file.
func (m *Model) ggufText(f *gguf.File) (err error) {
	if m.tokenizer, err = tokenizer.FromGGUF(f.Metadata.Get); err != nil {
		return err
	}
	for _, key := range []string{"eos_token_id", "eot_token_id", "eom_token_id"} {
		id, err := f.Metadata.IntOr("tokenizer.ggml."+key, -1)
		if err != nil {
			return err
		}
		m.end(id)
	}
	m.endsByName()
	return nil
}

// folderText reads tokenizer and template of a Hugging Face folder.
func (m *Model) folderText(find finder) error {
	text, err := read(find, "tokenizer.json")
	if err != nil {
		return err
	}
	if m.tokenizer, err = tokenizer.FromJSON(text); err != nil {
		return err
	}
	for _, name := range []string{"generation_config.json", configFile} {
		text, err := read(find, name)
		if fault.KindOf(err) == fault.NotFound {
			continue
		}
		if err != nil {
			return err
		}
		ids, err := endsIn(text)
		if err != nil {
			return fault.Wrap(err, "llm.open", fault.Invalid, "%s", name)
		}
		for _, id := range ids {
			m.end(id)
		}
	}
	m.endsByName()
	return nil
}

// endsIn are the tokens that end an answer, one or a list, in a file of JSON.
func endsIn(text []byte) ([]int, error) {
	var file struct {
		End json.RawMessage `json:"eos_token_id"`
	}
	if err := json.Unmarshal(text, &file); err != nil || len(file.End) == 0 {
		return nil, err
	}
	var one *int
	if json.Unmarshal(file.End, &one) == nil {
		if one == nil {
			return nil, nil
		}
		return []int{*one}, nil
	}
	var list []int
	return list, json.Unmarshal(file.End, &list)
}

// end adds a token that ends an answer.
func (m *Model) end(id int) {
	if id >= 0 && id < m.config.Vocab && !slices.Contains(m.ends, id) {
		m.ends = append(m.ends, id)
	}
}

// endsByName adds the control tokens by which known models end a turn: many files name
// only the end of a text.
func (m *Model) endsByName() {
	m.end(m.tokenizer.EOS())
	for _, name := range []string{"<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<|end|>", "<|endoftext|>", "<|end_of_text|>", "<end_of_turn>", "<turn|>", "</s>"} {
		if id, ok := m.tokenizer.Lookup(name); ok && m.tokenizer.Special(id) {
			m.end(id)
		}
	}
}
