package llm_test

import (
	"context"
	"fmt"
	"log"

	"tandem/llm"
)

// A conversation with a model that has a chat template, printed as it comes.
func ExampleModel_Generate() {
	m, err := llm.Open("model.gguf", llm.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	prompt, err := m.Chat([]llm.Message{{Role: "user", Content: "Why is the sky blue?"}}, nil)
	if err != nil {
		log.Fatal(err)
	}
	request := llm.Request{Prompt: prompt, MaxTokens: 100, Sampling: m.Sampling(), RandomSeed: true}
	for piece, err := range m.Generate(context.Background(), request) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Print(piece.Text)
	}
}

// A text that the model goes on with: the most probable token each time, which repeats.
func ExampleModel_Encode() {
	m, err := llm.Open("model.gguf", llm.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	request := llm.Request{Prompt: m.Encode("Once upon a time"), MaxTokens: 50, Sampling: llm.Sampling{Logprobs: -1}, Stop: []string{"\n\n"}}
	for piece, err := range m.Generate(context.Background(), request) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Print(piece.Text)
	}
}
