package llm

import (
	"encoding/json"
	"slices"
	"time"

	"tandem/fault"
	"tandem/model/gguf"
	"tandem/processor/chat"
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

// Prompt is Encode for a text that may be of any length: TooLarge, before all of it is
// tokens, if the context has no room for it.
func (m *Model) Prompt(text string) ([]int, error) { return m.prompt(text, true) }

func (m *Model) prompt(text string, special bool) ([]int, error) {
	tokens, ok := m.tokenizer.EncodeWithin(text, special, m.context-1)
	if !ok {
		return nil, fault.New("llm.prompt", fault.TooLarge, "the prompt has %d tokens or more: the context has room for %d, the answer included", m.context, m.context).
			Try(remedyContext)
	}
	return tokens, nil
}

// remedyContext is for a prompt that the context has no room for.
const remedyContext = "send a shorter prompt, or open the model with a larger context"

// TokenBytes is what a token spells.
func (m *Model) TokenBytes(id int) []byte { return m.tokenizer.Bytes(id) }

// Chats tells whether the model has a template for conversations.
func (m *Model) Chats() bool { return m.template.source != "" }

// Chat turns a conversation into the tokens that ask for an answer, by the model's own
// template; arguments are what templates may be told, such as enable_thinking. Errors:
// Unsupported without a template, Invalid where the template refuses the conversation,
// TooLarge where the context has no room for it.
func (m *Model) Chat(messages []Message, arguments map[string]any) ([]int, error) {
	const op = "llm.chat"
	if !m.Chats() {
		return nil, fault.New(op, fault.Unsupported, "the model has no chat template").Try("use a model that was trained to chat, or ask for a completion")
	}
	if m.template.err != nil {
		return nil, fault.Wrap(m.template.err, op, fault.Unsupported, "")
	}
	if _, twice := arguments["messages"]; twice {
		return nil, fault.New(op, fault.Invalid, "the template's argument \"messages\" would take the place of the conversation").Try("leave it out")
	}
	list, err := json.Marshal(messages)
	if err != nil {
		return nil, fault.From(err, op)
	}
	text, err := m.template.parsed.Render(chat.Conversation{
		Messages: list, Generate: true, Special: m.template.special, Arguments: arguments, Now: time.Now(),
	})
	if err != nil {
		return nil, err
	}
	return m.prompt(text, false)
}

// template is a model's chat template; an empty source is none. One that cannot be read
// does not keep the model from opening.
type template struct {
	source  string
	parsed  *chat.Template
	err     error
	special map[string]string // tokens by the names that templates know
}

func newTemplate(source string, special map[string]string) template {
	t := template{source: source, special: special}
	if source != "" {
		t.parsed, t.err = chat.Parse(source)
	}
	return t
}

// tokenNames are the special tokens that templates may name.
func tokenNames() []string {
	return []string{"bos_token", "eos_token", "unk_token", "pad_token", "sep_token", "cls_token", "mask_token"}
}

// ggufText reads tokenizer and template of a GGUF file.
func (m *Model) ggufText(f *gguf.File) (err error) {
	if m.tokenizer, err = tokenizer.FromGGUF(f.Metadata.Get); err != nil {
		return err
	}
	source, err := f.Metadata.TextOr("tokenizer.chat_template", "")
	if err != nil {
		return err
	}
	m.template = newTemplate(source, map[string]string{"bos_token": m.tokenizer.Text(m.tokenizer.BOS()), "eos_token": m.tokenizer.Text(m.tokenizer.EOS())})
	for _, key := range []string{"eos_token_id", "eot_token_id", "eom_token_id"} {
		id, err := f.Metadata.IntOr("tokenizer.ggml."+key, -1)
		if err != nil {
			return err
		}
		m.end(id)
	}
	m.endsByName()
	return m.sampling.readGGUF(f.Metadata)
}

// folderText reads tokenizer and template of a Hugging Face folder.
func (m *Model) folderText(find finder) error {
	text, err := read(find, tokenizerFile)
	if err != nil {
		return err
	}
	if m.tokenizer, err = tokenizer.FromJSON(text); err != nil {
		return err
	}
	if err := m.folderTemplate(find); err != nil {
		return err
	}
	for _, name := range []string{"generation_config.json", configFile} {
		text, err := optional(find, name)
		if err != nil {
			return err
		}
		if len(text) == 0 {
			continue
		}
		ids, err := endsIn(text)
		if err == nil && name != configFile {
			err = m.sampling.readJSON(text)
		}
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

// folderTemplate reads the chat template: a file of its own in newer folders, else an
// entry of tokenizer_config.json, which also names special tokens.
func (m *Model) folderTemplate(find finder) error {
	text, err := optional(find, "tokenizer_config.json")
	if err != nil {
		return err
	}
	config := map[string]json.RawMessage{}
	if len(text) > 0 {
		if err := json.Unmarshal(text, &config); err != nil {
			return fault.Wrap(err, "llm.open", fault.Invalid, "tokenizer_config.json cannot be read")
		}
	}
	source, err := optional(find, "chat_template.jinja")
	if err != nil {
		return err
	}
	if len(source) == 0 {
		source = []byte(templateIn(config["chat_template"]))
	}
	special := map[string]string{}
	for _, name := range tokenNames() {
		if text := tokenIn(config[name]); text != "" {
			special[name] = text
		}
	}
	m.template = newTemplate(string(source), special)
	return nil
}

// templateIn is a template alone, or the one called default in a list.
func templateIn(value json.RawMessage) (source string) {
	if json.Unmarshal(value, &source) == nil {
		return source
	}
	var list []struct{ Name, Template string }
	if json.Unmarshal(value, &list) != nil {
		return ""
	}
	for _, t := range list {
		if t.Name == "default" {
			return t.Template
		}
	}
	return ""
}

// tokenIn is a token's text alone, or in an object.
func tokenIn(value json.RawMessage) (text string) {
	if json.Unmarshal(value, &text) == nil {
		return text
	}
	var token struct{ Content string }
	if json.Unmarshal(value, &token) != nil {
		return ""
	}
	return token.Content
}

// optional is a file's text, or nothing if it is not there.
func optional(find finder, name string) ([]byte, error) {
	text, err := read(find, name)
	if fault.KindOf(err) == fault.NotFound {
		return nil, nil
	}
	return text, err
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
