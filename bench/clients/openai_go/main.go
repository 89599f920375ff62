// Command openai_go lets the unmodified openai-go talk to a Tandem server.
//
//	openai_go URL KEY MODEL
//
// MODEL tells stories and has a chat template. It prints one line for each check and ends
// with "ok"; it stops at the first that fails. It is a module of its own, because the
// client brings more code than all of Tandem.
package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
)

func check(name string, ok bool, detail ...any) {
	if !ok {
		fmt.Println(append([]any{name + ":"}, detail...)...)
		os.Exit(1)
	}
	fmt.Println(name)
}

// flaky loses the first requests.
type flaky struct {
	tries atomic.Int32
	lost  int32
}

func (f *flaky) RoundTrip(r *http.Request) (*http.Response, error) {
	if f.tries.Add(1) <= f.lost {
		return nil, errors.New("the connection is lost")
	}
	return http.DefaultTransport.RoundTrip(r)
}

func main() {
	url, key, model := os.Args[1], os.Args[2], os.Args[3]
	c := openai.NewClient(option.WithBaseURL(url+"/v1"), option.WithAPIKey(key), option.WithMaxRetries(0))
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	models, err := c.Models.List(ctx)
	check("models", err == nil && len(models.Data) == 1 && models.Data[0].ID == model, models, err)
	chat := openai.ChatCompletionNewParams{
		Model: model, Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage("Once upon a time")},
		MaxTokens: openai.Int(20), Temperature: openai.Float(0), Logprobs: openai.Bool(true), TopLogprobs: openai.Int(2),
	}
	checkChat(ctx, c, chat)
	checkCompletions(ctx, c, model)
	checkErrors(ctx, c, chat)
	checkCancel(c, model)
	fmt.Println("ok")
}

func checkChat(ctx context.Context, c openai.Client, q openai.ChatCompletionNewParams) {
	answer, err := c.Chat.Completions.New(ctx, q)
	check("chat", err == nil && answer.Choices[0].Message.Content != "" && answer.Choices[0].FinishReason == "length", answer, err)
	first := answer.Choices[0]
	check("usage", answer.Usage.CompletionTokens == 20, answer.RawJSON())
	check("logprobs", len(first.Logprobs.Content) == 20 && len(first.Logprobs.Content[0].TopLogprobs) == 2, answer.RawJSON())
	stream, sum := c.Chat.Completions.NewStreaming(ctx, q), openai.ChatCompletionAccumulator{}
	for stream.Next() {
		check("chunk", sum.AddChunk(stream.Current()), stream.Current().RawJSON())
	}
	check("stream", stream.Err() == nil && sum.Choices[0].Message.Content == first.Message.Content && sum.Choices[0].FinishReason == "length",
		stream.Err(), sum.Choices)
}

func checkCompletions(ctx context.Context, c openai.Client, model string) {
	q := openai.CompletionNewParams{Model: openai.CompletionNewParamsModel(model), MaxTokens: openai.Int(5), Prompt: openai.CompletionNewParamsPromptUnion{OfString: openai.String("One day")}}
	text, err := c.Completions.New(ctx, q)
	check("completion", err == nil && text.Choices[0].Text != "", text, err)
	q.Prompt = openai.CompletionNewParamsPromptUnion{OfArrayOfTokens: []int64{1, 403}}
	lossy := &flaky{lost: 2}
	_, err = c.Completions.New(ctx, q, option.WithHTTPClient(&http.Client{Transport: lossy}), option.WithMaxRetries(2))
	check("retries", err == nil && lossy.tries.Load() == 3, err)
}

func checkErrors(ctx context.Context, c openai.Client, q openai.ChatCompletionNewParams) {
	var refused *openai.Error
	_, err := c.Chat.Completions.New(ctx, q, option.WithAPIKey("wrong"))
	check("wrong key", errors.As(err, &refused) && refused.StatusCode == 401 && refused.Code == "invalid_api_key", err)
	name := q.Model
	q.Model = "other"
	_, err = c.Chat.Completions.New(ctx, q)
	check("unknown model", errors.As(err, &refused) && refused.StatusCode == 404 && refused.Code == "model_not_found", err)
	q.Model, q.Temperature = name, openai.Float(9)
	_, err = c.Chat.Completions.New(ctx, q)
	check("temperature", errors.As(err, &refused) && refused.StatusCode == 400 && refused.Param == "temperature" && strings.Contains(refused.Message, "expected 0 to 2"), err)
}

// checkCancel: a stream that is left frees the model at once.
func checkCancel(c openai.Client, model string) {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	stream := c.Completions.NewStreaming(ctx, openai.CompletionNewParams{
		Model: openai.CompletionNewParamsModel(model), MaxTokens: openai.Int(490), Prompt: openai.CompletionNewParamsPromptUnion{OfString: openai.String("One day")},
	}, option.WithJSONSet("ignore_eos", true))
	n := 0
	for stream.Next() {
		if n++; n == 3 {
			stop()
		}
	}
	check("cancel", errors.Is(stream.Err(), context.Canceled) && n < 400, n, stream.Err())
}
