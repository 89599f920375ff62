package chat

import (
	"encoding/json"
	"maps"
	"time"

	"tandem/fault"
	"tandem/processor/chat/jinja"
)

// Template is a model's chat template. It may be used from several goroutines at
// once.
type Template struct{ template *jinja.Template }

// Parse reads a template. Errors are of kind Invalid and name the line.
func Parse(source string) (*Template, error) {
	t, err := jinja.Parse(source)
	if err != nil {
		return nil, fault.Wrap(err, "chat.parse", fault.KindOf(err), "the chat template").
			Try("give another template: the model's own one is damaged, or uses what Tandem does not know")
	}
	return &Template{t}, nil
}

// Conversation is what a template writes.
type Conversation struct {
	Messages  json.RawMessage // an array of objects with role and content, in JSON
	Tools     json.RawMessage // an array of descriptions of functions, in JSON; nil: none
	Documents json.RawMessage // an array of documents, in JSON; nil: none
	// Generate asks for the beginning of the assistant's answer at the end.
	Generate bool
	// Special are special tokens by the names that templates know: bos_token,
	// eos_token and so on.
	Special map[string]string
	// Arguments are the template's own, such as enable_thinking. They come before
	// all others.
	Arguments map[string]any
	Now       time.Time // what the template takes for the time
}

// Render writes the conversation. A template that refuses it (roles that do not
// alternate, say) gives an error of kind Invalid with the template's words; one that
// does not end, of kind TooLarge.
func (t *Template) Render(c Conversation) (string, error) {
	optional := func(data json.RawMessage) any {
		if len(data) == 0 {
			return nil
		}
		return data
	}
	variables := map[string]any{
		"messages": []any{}, "tools": optional(c.Tools), "documents": optional(c.Documents), "add_generation_prompt": c.Generate,
	}
	if len(c.Messages) > 0 {
		variables["messages"] = c.Messages
	}
	for name, text := range c.Special {
		variables[name] = text
	}
	maps.Copy(variables, c.Arguments)
	return t.template.Render(variables, c.Now, jinja.DefaultLimits())
}
