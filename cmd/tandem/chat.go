package main

import (
	"context"
	"errors"
	"iter"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"tandem/fault"
	"tandem/internal/client"
	"tandem/kernel"
	"tandem/llm"
)

// chatCmd is `tandem chat`.
type chatCmd struct {
	Model       string   `arg:"" placeholder:"NAME[:VERSION]|PATH" help:"Model that serves, or a .gguf file, or a Hugging Face folder."`
	Prompt      string   `short:"p" help:"Ask this and end. Without it: a conversation, a message a line." placeholder:"TEXT"`
	System      string   `help:"What the model is told before the conversation." placeholder:"TEXT"`
	MaxTokens   int      `help:"Most tokens of an answer. Without it: what the context has room for." placeholder:"N"`
	Temperature *float64 `help:"How freely the model chooses; 0 is the most probable token always. Without it, and the two below: as the model's files recommend." placeholder:"T"`
	TopP        *float64 `help:"Choose among the most probable tokens that together have this probability." placeholder:"P"`
	TopK        *int     `help:"Choose among so many of the most probable tokens; 0 is all." placeholder:"N"`
	Seed        *uint64  `help:"Repeat what was drawn with this seed." placeholder:"N"`
	Arg         []string `help:"Tell the model's template something, such as enable_thinking=false. May be given more than once." placeholder:"NAME=VALUE" sep:"none"`
	Context     int      `help:"Tokens of a whole conversation, for a model on this machine. Without it: the model's own, at most 4096." placeholder:"N"`
	Threads     int      `help:"Threads that compute, for a model on this machine. Without it: all processors." placeholder:"N"`
}

// saidPiece is a part of an answer.
type saidPiece struct {
	text   string
	tokens int        // of the answer so far
	finish llm.Finish // of the last one
	at     time.Time  // when its token was picked, or came over the network
}

// speaker answers a conversation.
type speaker func(ctx context.Context, messages []llm.Message) iter.Seq2[saidPiece, error]

// Run holds a conversation.
func (c *chatCmd) Run(ctx context.Context, a *app) (err error) {
	arguments, err := c.arguments()
	if err != nil {
		return err
	}
	speak, chats, closeModel, err := c.open(ctx, a, arguments)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.closing(ctx, closeModel)) }()
	if err := ctx.Err(); err != nil { // Ctrl-C while the model was being opened
		return fault.From(err, "tandem.chat")
	}
	s := &chatSession{app: a, speak: speak, system: c.System, bounded: c.MaxTokens > 0}
	if !chats && !a.json {
		s.note("The model was not trained to chat: it goes on with what you write.")
	}
	if c.Prompt != "" {
		return s.once(ctx, c.Prompt)
	}
	return s.converse(ctx)
}

// arguments reads NAME=VALUE: whole numbers and truth values are such.
func (c *chatCmd) arguments() (map[string]any, error) {
	all := map[string]any{}
	for _, text := range c.Arg {
		name, value, found := strings.Cut(text, "=")
		if !found || name == "" {
			return nil, usage("%q is not NAME=VALUE", text)
		}
		if n, err := strconv.Atoi(value); err == nil {
			all[name] = n
		} else if value == "true" || value == "false" {
			all[name] = value == "true"
		} else {
			all[name] = value
		}
	}
	return all, nil
}

// open finds the model: on this machine if the argument is a path, else on the server.
// chats tells whether it has a template for conversations.
func (c *chatCmd) open(ctx context.Context, a *app, arguments map[string]any) (speak speaker, chats bool, closeModel func() error, err error) {
	if !isPath(c.Model) && !languageAt(c.Model) {
		if c.Context != 0 || c.Threads != 0 {
			return nil, false, nil, usage("%s and %s are for a model on this machine: those of a server have its own", "--context", "--threads")
		}
		server, err := a.client()
		if err == nil {
			err = server.Language(ctx, c.Model)
		}
		if err != nil {
			return nil, false, nil, err
		}
		return c.remote(server, arguments), true, func() error { return nil }, nil
	}
	threads, err := threadsOr(c.Threads)
	if err != nil {
		return nil, false, nil, err
	}
	leaveProcessorForNetwork(threads)
	pool := kernel.NewPool(threads, kernel.Detect())
	progress, opened := a.opening(c.Model)
	m, err := llm.Open(c.Model, llm.Options{Pool: pool, Context: c.Context, Limits: llm.Limits{MaxSequences: 1}, PackedDir: packedDir(a.getenv),
		MemoryLimitBytes: int64(memoryShare * float64(machineMemoryBytes())), Progress: progress})
	opened()
	if err != nil {
		pool.Close()
		return nil, false, nil, err
	}
	return c.here(m, arguments), m.Chats(), func() error {
		err := m.Close()
		pool.Close()
		return err
	}, nil
}

// packedDir is where packed weights of models on this machine are kept: in the user's
// folder for caches, if there is one.
func packedDir(getenv func(string) string) string {
	base := getenv("XDG_CACHE_HOME")
	if home := getenv("HOME"); base == "" && home != "" {
		base = filepath.Join(home, ".cache")
	}
	if base == "" {
		return ""
	}
	return filepath.Join(base, "tandem", packedFolder)
}

// remote speaks over the network.
func (c *chatCmd) remote(server *client.Client, arguments map[string]any) speaker {
	return func(ctx context.Context, messages []llm.Message) iter.Seq2[saidPiece, error] {
		q := client.ChatRequest{
			Model: c.Model, MaxTokens: c.MaxTokens, Temperature: c.Temperature, TopP: c.TopP, TopK: c.TopK, Seed: c.Seed, Arguments: arguments,
		}
		for _, m := range messages {
			q.Messages = append(q.Messages, client.ChatMessage(m))
		}
		return func(yield func(saidPiece, error) bool) {
			for p, err := range server.Chat(ctx, q) {
				if !yield(saidPiece{p.Text, p.Tokens, llm.Finish(p.Finish), time.Now()}, err) {
					return
				}
			}
		}
	}
}

// here speaks with a model in this process.
func (c *chatCmd) here(m *llm.Model, arguments map[string]any) speaker {
	return func(ctx context.Context, messages []llm.Message) iter.Seq2[saidPiece, error] {
		return func(yield func(saidPiece, error) bool) {
			prompt, err := promptOf(m, messages, arguments)
			if err != nil {
				yield(saidPiece{}, err)
				return
			}
			r := llm.Request{Prompt: prompt, MaxTokens: c.MaxTokens, RandomSeed: c.Seed == nil, Sampling: c.sampling(m)}
			n := 0
			for p, err := range m.Generate(ctx, r) {
				if n++; !yield(saidPiece{p.Text, n, p.Finish, p.At}, err) {
					return
				}
			}
		}
	}
}

// sampling is what the model's files recommend, but for what was given.
func (c *chatCmd) sampling(m *llm.Model) llm.Sampling {
	s := m.Sampling()
	if c.Temperature != nil {
		s.Temperature = *c.Temperature
	}
	if c.TopP != nil {
		s.TopP = llm.TopP(*c.TopP)
	}
	if c.TopK != nil {
		s.TopK = *c.TopK
	}
	if c.Seed != nil {
		s.Seed = *c.Seed
	}
	return s
}

// promptOf is the conversation by the model's template, or for a model without one its
// texts in a row.
func promptOf(m *llm.Model, messages []llm.Message, arguments map[string]any) ([]int, error) {
	if m.Chats() {
		return m.Chat(messages, arguments)
	}
	var text strings.Builder
	for _, message := range messages {
		text.WriteString(message.Content)
	}
	prompt, err := m.Prompt(text.String())
	if err == nil && len(prompt) == 0 {
		return nil, fault.New("tandem.chat", fault.Invalid, "there is no text to go on with")
	}
	return prompt, err
}
