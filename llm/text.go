package llm

import (
	"tandem/fault"
)

// Message is one turn of a conversation.
type Message struct {
	Role    string `json:"role"` // system, user or assistant
	Content string `json:"content"`
}

// Encode turns text into tokens: those that begin a text first, where the model has
// such. Special tokens are not recognised in it.
func (m *Model) Encode(text string) []int { return m.tokenizer.Encode(text, false) }

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
