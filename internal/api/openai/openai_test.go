package openai

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"tandem/internal/serve"
	"tandem/internal/tenant"
	"tandem/kernel"
	"tandem/llm"
	"tandem/model"
	"tandem/model/gguf/gguftest"
)

// world is the protocol on a real model that tells stories, behind a bare mux.
type world struct {
	*httptest.Server
	engine *serve.Engine

	mu    sync.Mutex
	usage []tenant.Usage
}

func newWorld(t *testing.T) *world { t.Helper(); return newLimited(t, llm.Limits{}) }

func newLimited(t *testing.T, limits llm.Limits) *world {
	t.Helper()
	dir := os.Getenv("TANDEM_DATA")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "..", "shared", "data")
	}
	path := filepath.Join(dir, "stories260k", "stories260K.gguf")
	if _, err := os.Stat(path); err != nil {
		t.Skip("NOT TESTED WITH A REAL MODEL: ", err)
	}
	m, src, err := llm.Artifact(t.Context(), withTemplate(t, path))
	if err != nil {
		t.Fatal(err)
	}
	w := &world{}
	pool := kernel.NewPool(2, kernel.Detect())
	t.Cleanup(pool.Close)
	w.engine, err = serve.New(serve.Config{
		Load: func(context.Context, *model.Manifest, func(model.File) (string, error)) (serve.Runner, error) {
			panic("takes tensors")
		},
		LoadLanguage: func(ctx context.Context, m *model.Manifest, path func(model.File) (string, error)) (*llm.Model, error) {
			return llm.OpenArtifact(ctx, m, path, llm.Options{Pool: pool, Limits: limits})
		},
		Record: func(u tenant.Usage) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.usage = append(w.usage, u)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	p, err := w.engine.Prepare(t.Context(), serve.Artifact{Target: serve.Target{Tenant: "t", Model: "stories", Version: 1}, Manifest: m, Path: src})
	if err != nil {
		t.Fatal(err)
	}
	p.Commit()
	w.Server = httptest.NewServer(w.mux())
	t.Cleanup(func() {
		w.Close()
		if err := w.engine.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return w
}

// withTemplate copies a model and gives it a template: it goes on with the last message.
func withTemplate(t *testing.T, path string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "stories.gguf")
	gguftest.WithTemplate(t, path, to, "{{ bos_token }}{% if messages[0].role == 'king' %}{{ raise_exception('no kings') }}{% endif %}{% if n is defined and n is not integer %}{{ raise_exception('no whole number') }}{% endif %}{{ messages[-1].content }}")
	return to
}

func (w *world) mux() *http.ServeMux {
	s, mux := New(w.engine, time.Now), http.NewServeMux()
	for pattern, h := range map[string]func(http.ResponseWriter, *http.Request, tenant.Principal) error{
		"GET /v1/models": s.Models, "GET /v1/models/{model}": s.Model, "POST /v1/completions": s.Complete, "POST /v1/chat/completions": s.Chat,
	} {
		mux.HandleFunc(pattern, func(rw http.ResponseWriter, r *http.Request) {
			rw.Header().Set("X-Request-Id", "r1")
			if err := h(rw, r, tenant.Principal{Tenant: "t", Key: "k", Role: tenant.RoleUser}); err != nil {
				WriteError(rw, "r1", err)
			}
		})
	}
	return mux
}

// post sends a body and returns status and answer.
func (w *world) post(t *testing.T, route, body string) (int, string) {
	t.Helper()
	r, err := http.Post(w.URL+"/v1/"+route, "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	var b strings.Builder
	lines := bufio.NewScanner(r.Body)
	lines.Buffer(nil, 1<<22)
	for lines.Scan() {
		b.WriteString(lines.Text() + "\n")
	}
	return r.StatusCode, b.String()
}

// with is a small request with one parameter more, or with another value: name is empty
// for the request alone.
func with(route, name, value string) string {
	fields := [][2]string{{"model", `"stories"`}, {"prompt", `"One day"`}, {"max_tokens", "3"}, {"temperature", "0"}}
	if route == "chat/completions" {
		fields[1] = [2]string{"messages", `[{"role":"user","content":"One day"}]`}
	}
	if i := slices.IndexFunc(fields, func(f [2]string) bool { return f[0] == name }); i >= 0 {
		fields[i][1] = value
	} else if name != "" {
		fields = append(fields, [2]string{name, value})
	}
	var members []string
	for _, f := range fields {
		members = append(members, fmt.Sprintf("%q:%s", f[0], f[1]))
	}
	return "{" + strings.Join(members, ",") + "}"
}

// TestEveryField walks the table on both routes: what is honoured works, what is accepted
// changes nothing, what is refused is a 400 that names it.
func TestEveryField(t *testing.T) {
	w := newWorld(t)
	samples := map[string]string{
		"max_tokens": "3", "temperature": "0.5", "top_p": "0.9", "n": "2", "stream": "true", "stop": `["z"]`, "presence_penalty": "0.1",
		"frequency_penalty": "0.1", "logit_bias": `{"5":1}`, "seed": "-3", "top_k": "5", "min_p": "0.1", "repetition_penalty": "1.1",
		"ignore_eos": "true", "user": `"u"`, "safety_identifier": `"u"`, "prompt_cache_key": `"k"`, "prompt_cache_retention": `"24h"`,
		"prediction": `{"type":"content","content":"x"}`, "metadata": `{"a":"b"}`, "service_tier": `"auto"`, "parallel_tool_calls": "true",
		"chat_template_kwargs": `{"enable_thinking":false,"n":5}`,
		"model":                `"stories","seed":1`, "prompt": `"A","seed":1`, "messages": `[{"role":"user","content":"A"}],"seed":1`,
		"stream_options": `{"include_usage":true},"stream":true`, "max_completion_tokens": "3", "top_logprobs": `2,"logprobs":true`,
	}
	for route, name := range map[Route]string{Completions: "completions", Chat: "chat/completions"} {
		samples["logprobs"] = "2"
		if route == Chat {
			samples["logprobs"] = "true"
		}
		_, answer := w.post(t, name, with(name, "", ""))
		plain := said(t, answer)
		for _, f := range Fields() {
			if f.Route&route != 0 {
				t.Run(name+" "+f.Name, func(t *testing.T) {
					ask := func(value string) (int, string) { return w.post(t, name, with(name, f.Name, value)) }
					checkField(t, f, ask, samples[f.Name], plain)
				})
			}
		}
	}
}

// checkField holds one parameter to the table; plain is what is said without it.
func checkField(t *testing.T, f Field, ask func(value string) (int, string), sample, plain string) {
	t.Helper()
	if (f.Fate == Honoured || f.Fate == Accepted) && sample == "" {
		t.Fatal("there is no sample of it")
	}
	switch f.Fate {
	case Honoured:
		if status, answer := ask(sample); status != 200 {
			t.Errorf("%d %s", status, answer)
		}
	case Accepted:
		if status, answer := ask(sample); status != 200 || said(t, answer) != plain {
			t.Errorf("%d %s", status, answer)
		}
	case Neutral, Refused:
		for _, value := range append(f.Neutral, "null") {
			if status, answer := ask(value); status != 200 || said(t, answer) != plain {
				t.Errorf("%s: %d %s", value, status, answer)
			}
		}
		if status, answer := ask(`"something else"`); status != 400 || !strings.Contains(answer, `"param":"`+f.Name+`"`) {
			t.Errorf("%d %s", status, answer)
		}
	}
}

// said is the text of the first answer, of either route.
func said(t *testing.T, answer string) string {
	t.Helper()
	var a struct {
		Choices []struct {
			Text    string
			Message struct{ Content string }
		}
	}
	if err := json.Unmarshal([]byte(answer), &a); err != nil || len(a.Choices) == 0 {
		t.Fatalf("%v: %s", err, answer)
	}
	return a.Choices[0].Text + a.Choices[0].Message.Content
}

// TestBadRequests: each is refused with a 400 (or 404) that says why, and the server
// goes on.
func TestBadRequests(t *testing.T) {
	w := newWorld(t)
	for _, tc := range []struct{ name, route, body, want string }{
		{"no JSON", "completions", "{", "the body is not JSON: it ends too early"},
		{"a list", "completions", "[]", "the body is a list, expected an object"},
		{"nothing", "completions", "", "the body is not JSON: it ends too early"},
		{"deep", "completions", strings.Repeat("[", 100_000), "nested"},
		{"no model", "completions", `{"prompt":"a"}`, `"param":"model"`},
		{"no prompt", "completions", `{"model":"stories"}`, `"param":"prompt"`},
		{"an empty prompt list", "completions", `{"model":"stories","prompt":[]}`, `"param":"prompt"`},
		{"a prompt of mixed kinds", "completions", `{"model":"stories","prompt":["a",1]}`, `"param":"prompt"`},
		{"a message that is none", "chat/completions", `{"model":"stories","messages":[{"role":"user","content":"a"},{"role":5}]}`, `"message":"messages[1].role is a number, expected a string"`},
		{"a part that is none", "chat/completions", `{"model":"stories","messages":[{"role":"user","content":[{"type":"text"},{"type":[]}]}]}`, `"message":"messages[0].content[1].type is a list, expected a string"`},
		{"a content that is none", "chat/completions", `{"model":"stories","messages":[{"role":"user","content":7}]}`, `"message":"messages[0].content is neither a string nor a list of parts"`},
		{"a bias that is none", "completions", with("completions", "logit_bias", `{"5":"1"}`), `"message":"logit_bias.5 is a string, expected a number"`},
		{"too many prompts", "completions", `{"model":"stories","n":30,"prompt":["a","b"]}`, `"param":"prompt"`},
		{"no such token", "completions", `{"model":"stories","prompt":[100000]}`, "tokens are 0 to 511"},
		{"overflow", "completions", with("completions", "max_tokens", "100000"), `"code":"context_length_exceeded"`},
		{"huge number", "completions", with("completions", "max_tokens", "99999999999999999999"), `"param":"max_tokens"`},
		{"temperature", "completions", with("completions", "temperature", "2.5"), `"param":"temperature"`},
		{"a string", "completions", with("completions", "temperature", `"hot"`), `"param":"temperature"`},
		{"n", "completions", with("completions", "n", "0"), `"param":"n"`},
		{"logprobs", "completions", with("completions", "logprobs", "6"), `"param":"logprobs"`},
		{"bias of no token", "completions", with("completions", "logit_bias", `{"x":1}`), `"param":"logit_bias"`},
		{"bias beyond", "completions", with("completions", "logit_bias", `{"512":1}`), "tokens are 0 to 511"},
		{"an empty stop", "completions", with("completions", "stop", `""`), `"param":"stop"`},
		{"many stops", "completions", with("completions", "stop", `["a","b","c","d","e","f","g","h","i","j","k","l","m","n","o","p","q"]`), `"param":"stop"`},
		{"other stream options", "completions", with("completions", "stream_options", `{"colour":true},"stream":true`), "colour"},
		{"no penalty at all", "completions", with("completions", "repetition_penalty", "0"), `"param":"repetition_penalty"`},
		{"hardly a penalty", "completions", with("completions", "repetition_penalty", "1e-40"), `"param":"repetition_penalty"`},
		{"a token with two biases", "completions", with("completions", "logit_bias", `{"5":1,"05":2}`), `"param":"logit_bias"`},
		{"null among prompts", "completions", `{"model":"stories","prompt":["\\\"a",null]}`, `"param":"prompt"`},
		{"null among tokens", "completions", `{"model":"stories","prompt":[1,null]}`, `"param":"prompt"`},
		{"null among lists", "completions", `{"model":"stories","prompt":[[1],[1,null]]}`, `"param":"prompt"`},
		{"messages twice", "chat/completions", with("chat/completions", "chat_template_kwargs", `{"messages":[]}`), "take the place of the conversation"},
		{"no boolean in stream options", "completions", with("completions", "stream_options", `{"include_usage":1},"stream":true`), "stream_options.include_usage is a number, expected a boolean"},
		{"two lengths", "chat/completions", with("chat/completions", "max_completion_tokens", "7"), `"param":"max_completion_tokens"`},
		{"stream options alone", "completions", with("completions", "stream_options", `{"include_usage":true}`), `"param":"stream_options"`},
		{"unknown", "completions", with("completions", "colour", "1"), `"param":"colour"`},
		{"of the other route", "completions", with("completions", "messages", "[]"), `"param":"messages"`},
		{"no messages", "chat/completions", `{"model":"stories","messages":[]}`, `"param":"messages"`},
		{"a role", "chat/completions", `{"model":"stories","messages":[{"role":"king","content":"a"}]}`, `"param":"messages"`},
		{"a picture", "chat/completions", `{"model":"stories","messages":[{"role":"user","content":[{"type":"image_url"}]}]}`, `"param":"messages"`},
		{"no content", "chat/completions", `{"model":"stories","messages":[{"role":"user","content":null}]}`, "has no content"},
		{"audio", "chat/completions", `{"model":"stories","messages":[{"role":"assistant","audio":{"id":"a"}}]}`, "has audio"},
		{"what a template refuses", "chat/completions", with("chat/completions", "chat_template_kwargs", `{"n":"x"}`), "no whole number"},
		{"a tool's answer", "chat/completions", `{"model":"stories","messages":[{"role":"tool","content":"a"}]}`, `"code":"unsupported_parameter"`},
		{"tools", "chat/completions", with("chat/completions", "tools", `[{"type":"function"}]`), `"code":"unsupported_parameter"`},
	} {
		if status, answer := w.post(t, tc.route, tc.body); status != 400 || !strings.Contains(answer, tc.want) {
			t.Errorf("%s: %d %s", tc.name, status, answer)
		}
	}
	if status, answer := w.post(t, "completions", `{"model":"other","prompt":"a"}`); status != 404 || !strings.Contains(answer, `"code":"model_not_found"`) {
		t.Errorf("%d %s", status, answer)
	}
	if status, answer := w.post(t, "completions", with("completions", "", "")); status != 200 {
		t.Errorf("%d %s", status, answer)
	}
}

// TestStreamForm: events as the protocol has them.
func TestStreamForm(t *testing.T) {
	w := newWorld(t)
	_, answer := w.post(t, "completions", `{"model":"stories","prompt":"One day","max_tokens":4,"temperature":0,"stream":true,"stream_options":{"include_usage":true}}`)
	events := strings.Split(strings.TrimSpace(answer), "\n\n")
	if len(events) != 6 || events[5] != "data: [DONE]" || !strings.Contains(events[4], `"choices":[],"usage":{"prompt_tokens":`) {
		t.Fatalf("%q", events)
	}
	for _, e := range events[:4] {
		if !strings.HasPrefix(e, "data: {") || !strings.Contains(e, `"usage":null`) {
			t.Errorf("%q", e)
		}
	}
	for route, prompt := range map[string]string{"completions": `"prompt":"One day"`, "chat/completions": `"messages":[{"role":"user","content":"One day"}]`} {
		_, answer = w.post(t, route, `{"model":"stories",`+prompt+`,"max_tokens":3,"temperature":0,"ignore_eos":true,"stream":true,"stream_options":{"include_usage":true,"continuous_usage_stats":true}}`)
		for n := 1; n <= 3; n++ {
			if !strings.Contains(answer, fmt.Sprintf(`"completion_tokens":%d,"total_tokens":%d`, n, n+3)) {
				t.Errorf("%s: no chunk has the usage of %d tokens: %s", route, n, answer)
			}
		}
	}
	_, answer = w.post(t, "completions", `{"model":"stories","prompt":"One day","max_tokens":4,"stream":true}`)
	if strings.Contains(answer, "usage") {
		t.Errorf("usage was not asked for: %s", answer)
	}
}

// TestOffsetsOfSplitCharacters: tokens that are parts of a character are one together.
func TestOffsetsOfSplitCharacters(t *testing.T) {
	for text, want := range map[string]int{"a 海在": 4, "": 0} {
		for size := 1; size < 4; size++ {
			n := 0
			for token := range slices.Chunk([]byte(text), size) {
				n += charactersBegun(token)
			}
			if n != want {
				t.Errorf("%q in tokens of %d bytes has %d characters", text, size, n)
			}
		}
	}
}

// TestChatForm: an answer whole and in events, with logprobs.
func TestChatForm(t *testing.T) {
	w := newWorld(t)
	ask := func(more string) string {
		t.Helper()
		status, answer := w.post(t, "chat/completions", `{"model":"stories","messages":[{"role":"system","content":"x"},{"role":"user","content":[{"type":"text","text":"One "},{"type":"text","text":"day"}]}],"max_tokens":4,"temperature":0`+more+`}`)
		if status != 200 {
			t.Fatal(status, answer)
		}
		return answer
	}
	var whole struct {
		Object  string
		Choices []struct {
			Message  struct{ Role, Content string }
			Logprobs struct {
				Content []struct {
					Token string
					Bytes []int
					Top   []struct{ Logprob float64 } `json:"top_logprobs"`
				}
			}
			Finish string `json:"finish_reason"`
		}
	}
	text := ask(`,"logprobs":true,"top_logprobs":2`)
	if err := json.Unmarshal([]byte(text), &whole); err != nil {
		t.Fatal(err)
	}
	c := whole.Choices[0]
	if whole.Object != "chat.completion" || c.Message.Role != "assistant" || c.Message.Content == "" || c.Finish != "length" ||
		len(c.Logprobs.Content) != 4 || len(c.Logprobs.Content[3].Bytes) == 0 || len(c.Logprobs.Content[3].Top) != 2 {
		t.Errorf("%s", text)
	}
	said, roles := "", 0
	for _, line := range strings.Split(ask(`,"stream":true`), "\n\n") {
		data, ok := strings.CutPrefix(line, "data: {")
		if !ok {
			continue
		}
		var chunk struct {
			Choices []struct {
				Delta struct{ Role, Content string }
			}
		}
		if err := json.Unmarshal([]byte("{"+data), &chunk); err != nil {
			t.Fatal(err)
		}
		said += chunk.Choices[0].Delta.Content
		if chunk.Choices[0].Delta.Role != "" {
			roles++
		}
	}
	if said != c.Message.Content || roles != 1 {
		t.Errorf("the stream says %q with %d roles, expected %q", said, roles, c.Message.Content)
	}
}

// TestUsageIsRecorded: also of an answer that its client does not wait for.
func TestUsageIsRecorded(t *testing.T) {
	w := newWorld(t)
	// A prompt counts once, however many answers it gets.
	_, text := w.post(t, "completions", `{"model":"stories","prompt":[1,403],"max_tokens":4,"n":2,"ignore_eos":true}`)
	if !strings.Contains(text, `"usage":{"prompt_tokens":2,"completion_tokens":8,"total_tokens":10}`) {
		t.Error(text)
	}
	// The model may have told all before its client goes: not every time.
	for tries := 1; ; tries++ {
		w.goAway(t)
		usage := w.recorded(t, 1+tries)
		if u := usage[0]; u.PromptTokens != 2 || u.AnswerTokens != 8 || u.Requests != 1 || u.Errors != 0 || u.Key != "k" || u.Model != "stories" {
			t.Errorf("%+v", u)
		}
		if u := usage[tries]; u.PromptTokens == 2 && u.AnswerTokens >= 1 && u.AnswerTokens < 500 && u.Errors == 1 {
			break
		} else if tries == 20 {
			t.Fatalf("%+v", u)
		}
	}
}

// goAway asks for a long answer and leaves after its first line.
func (w *world) goAway(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, "POST", w.URL+"/v1/completions", strings.NewReader(`{"model":"stories","prompt":[1,403],"max_tokens":500,"ignore_eos":true,"stream":true}`))
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if _, err := bufio.NewReader(answer.Body).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
}

// recorded waits for so many requests to be recorded.
func (w *world) recorded(t *testing.T, n int) []tenant.Usage {
	t.Helper()
	for range 6000 {
		w.mu.Lock()
		usage := slices.Clone(w.usage)
		w.mu.Unlock()
		if len(usage) >= n {
			return usage
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("%d requests are not recorded", n)
	return nil
}

// TestDrain: a model that is replaced answers what it has begun.
func TestDrain(t *testing.T) {
	w := newWorld(t)
	answer, err := http.Post(w.URL+"/v1/completions", "application/json",
		strings.NewReader(`{"model":"stories","prompt":[1,403],"max_tokens":300,"ignore_eos":true,"stream":true,"stream_options":{"include_usage":true}}`))
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	lines := bufio.NewReader(answer.Body)
	if _, err := lines.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	if err := w.engine.Undeploy(serve.Target{Tenant: "t", Model: "stories"}); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(lines); err != nil || !strings.Contains(string(rest), `"completion_tokens":300`) || !strings.HasSuffix(string(rest), "data: [DONE]\n\n") {
		t.Errorf("%v %s", err, rest)
	}
	if status, _ := w.post(t, "completions", with("completions", "", "")); status != 404 {
		t.Errorf("an undeployed model answers %d", status)
	}
}

// TestRecommendedSampling: what a request leaves open is as the model recommends.
func TestRecommendedSampling(t *testing.T) {
	recommended := llm.Sampling{Temperature: 0.6, TopP: 0.9, TopK: 20, Repetition: 1.1}
	for fields, want := range map[string]llm.Sampling{
		``:                                  {Temperature: 0.6, TopP: 0.9, TopK: 20, Repetition: 1.1, Logprobs: -1},
		`,"temperature":0,"top_k":-1`:       {TopP: 0.9, Repetition: 1.1, Logprobs: -1},
		`,"top_p":0`:                        {Temperature: 0.6, TopP: math.SmallestNonzeroFloat64, TopK: 20, Repetition: 1.1, Logprobs: -1},
		`,"top_p":1,"repetition_penalty":1`: {Temperature: 0.6, TopP: 1, TopK: 20, Repetition: 1, Logprobs: -1},
	} {
		q, err := readRequest(httptest.NewRequest("POST", "/", strings.NewReader(`{"model":"m","prompt":"p"`+fields+`}`)), Completions)
		if err != nil {
			t.Fatal(err)
		}
		if got := q.requestOf(recommended, []int{1}, -1, 0).Sampling; !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, expected %+v", fields, got, want)
		}
	}
}

// FuzzBody: no body makes the server fail.
func FuzzBody(f *testing.F) {
	for _, s := range []string{with("completions", "", ""), with("chat/completions", "", ""), `{"prompt":[[1]],"stop":[""],"logit_bias":{"1":1e39}}`, "[[[["} {
		f.Add(s, true)
	}
	f.Fuzz(func(t *testing.T, body string, chat bool) {
		route := Completions
		if chat {
			route = Chat
		}
		r := httptest.NewRequest("POST", "/", strings.NewReader(body))
		q, err := readRequest(r, route)
		if err != nil {
			if status, _ := describe(err, "r"); status < 400 || status >= 500 {
				t.Errorf("%q: %v", body, err)
			}
			return
		}
		if chat {
			_, _ = q.messages()
		}
		q.requestOf(llm.Sampling{}, []int{1}, -1, 0)
	})
}
