package openai

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"tandem/internal/serve"
	"tandem/internal/tenant"
	"tandem/kernel"
	"tandem/llm"
	"tandem/model"
	"tandem/model/gguf"
)

// world is the protocol on a real model that tells stories, behind a bare mux.
type world struct {
	*httptest.Server
	engine *serve.Engine

	mu    sync.Mutex
	usage []tenant.Usage
}

func newWorld(t *testing.T) *world {
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
			return llm.OpenArtifact(ctx, m, path, llm.Options{Pool: pool})
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
	f, err := gguf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	meta := f.Metadata.Clone()
	meta.Set("tokenizer.chat_template", "{{ bos_token }}{% if messages[0].role == 'king' %}{{ raise_exception('no kings') }}{% endif %}{{ messages[-1].content }}")
	to := filepath.Join(t.TempDir(), "stories.gguf")
	out, err := os.Create(to)
	if err != nil {
		t.Fatal(err)
	}
	w, err := gguf.NewWriter(out, meta, f.Tensors)
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range f.Tensors {
		if err := w.WriteTensor(x.Data); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), out.Close()); err != nil {
		t.Fatal(err)
	}
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

// with is a small request with one more parameter.
func with(route, name, value string) string {
	first := `"prompt":"One day"`
	if route == "chat/completions" {
		first = `"messages":[{"role":"user","content":"One day"}]`
	}
	body := fmt.Sprintf(`{"model":"stories",%s,"max_tokens":3,"temperature":0`, first)
	if name != "" {
		body = strings.Replace(body, fmt.Sprintf(`,"%s":`, name), `,"x":`, 1)
		if strings.Contains(body, `"x":`) { // it replaces one that is there
			body = strings.Replace(body, `"x":3`, `"x":null`, 1)
			body = strings.Replace(strings.Replace(body, `,"x":null`, "", 1), `,"x":0`, "", 1)
		}
		body += fmt.Sprintf(`,"%s":%s`, name, value)
	}
	return body + "}"
}

// TestEveryField walks the table: what is honoured works, what is accepted changes
// nothing, what is refused is a 400 that names it.
func TestEveryField(t *testing.T) {
	w := newWorld(t)
	samples := map[string]string{
		"max_tokens": "3", "temperature": "0.5", "top_p": "0.9", "n": "2", "stream": "true", "stop": `["z"]`, "presence_penalty": "0.1",
		"frequency_penalty": "0.1", "logit_bias": `{"5":1}`, "logprobs": "2", "seed": "-3", "top_k": "5", "min_p": "0.1", "repetition_penalty": "1.1",
		"ignore_eos": "true", "user": `"u"`,
	}
	_, plain := w.post(t, "completions", with("completions", "", ""))
	text := func(answer string) string {
		var a struct{ Choices []struct{ Text string } }
		if err := json.Unmarshal([]byte(answer), &a); err != nil || len(a.Choices) == 0 {
			t.Fatalf("%v: %s", err, answer)
		}
		return a.Choices[0].Text
	}
	for _, f := range Fields() {
		if f.Route&Completions == 0 {
			continue
		}
		switch f.Fate {
		case Honoured:
			if value := samples[f.Name]; value != "" {
				if status, answer := w.post(t, "completions", with("completions", f.Name, value)); status != 200 {
					t.Errorf("%s: %d %s", f.Name, status, answer)
				}
			} else if f.Name != "model" && f.Name != "prompt" && f.Name != "stream_options" {
				t.Errorf("%s has no sample here", f.Name)
			}
		case Accepted:
			if status, answer := w.post(t, "completions", with("completions", f.Name, samples[f.Name])); status != 200 || text(answer) != text(plain) {
				t.Errorf("%s: %d %s", f.Name, status, answer)
			}
		case Neutral:
			for _, value := range append(f.Neutral, "null") {
				if status, answer := w.post(t, "completions", with("completions", f.Name, value)); status != 200 || text(answer) != text(plain) {
					t.Errorf("%s %s: %d %s", f.Name, value, status, answer)
				}
			}
			fallthrough
		case Refused:
			if status, answer := w.post(t, "completions", with("completions", f.Name, `"something else"`)); status != 400 || !strings.Contains(answer, `"param":"`+f.Name+`"`) {
				t.Errorf("%s: %d %s", f.Name, status, answer)
			}
		}
	}
}

// TestBadRequests: each is refused with a 400 (or 404) that says why, and the server
// goes on.
func TestBadRequests(t *testing.T) {
	w := newWorld(t)
	for _, tc := range []struct{ name, route, body, want string }{
		{"no JSON", "completions", "{", "not a JSON object"},
		{"a list", "completions", "[]", "not a JSON object"},
		{"nothing", "completions", "", "not a JSON object"},
		{"deep", "completions", strings.Repeat("[", 100_000), "nested"},
		{"no model", "completions", `{"prompt":"a"}`, `"param":"model"`},
		{"no prompt", "completions", `{"model":"stories"}`, `"param":"prompt"`},
		{"an empty prompt list", "completions", `{"model":"stories","prompt":[]}`, `"param":"prompt"`},
		{"a prompt of mixed kinds", "completions", `{"model":"stories","prompt":["a",1]}`, `"param":"prompt"`},
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
		{"stream options alone", "completions", with("completions", "stream_options", `{"include_usage":true}`), `"param":"stream_options"`},
		{"unknown", "completions", with("completions", "colour", "1"), `"param":"colour"`},
		{"of the other route", "completions", with("completions", "messages", "[]"), `"param":"messages"`},
		{"no messages", "chat/completions", `{"model":"stories","messages":[]}`, `"param":"messages"`},
		{"a role", "chat/completions", `{"model":"stories","messages":[{"role":"king","content":"a"}]}`, `"param":"messages"`},
		{"a picture", "chat/completions", `{"model":"stories","messages":[{"role":"user","content":[{"type":"image_url"}]}]}`, `"param":"messages"`},
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
	_, answer = w.post(t, "completions", `{"model":"stories","prompt":"One day","max_tokens":4,"stream":true}`)
	if strings.Contains(answer, "usage") {
		t.Errorf("usage was not asked for: %s", answer)
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
	w.post(t, "completions", `{"model":"stories","prompt":[1,403],"max_tokens":4,"n":2,"ignore_eos":true}`)
	ctx, cancel := context.WithCancel(t.Context())
	r, err := http.NewRequestWithContext(ctx, "POST", w.URL+"/v1/completions", strings.NewReader(`{"model":"stories","prompt":[1,403],"max_tokens":500,"ignore_eos":true,"stream":true}`))
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := bufio.NewReader(answer.Body).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	cancel()
	answer.Body.Close()
	for range 500 {
		w.mu.Lock()
		n := len(w.usage)
		w.mu.Unlock()
		if n == 2 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.usage) != 2 {
		t.Fatalf("%d requests are recorded", len(w.usage))
	}
	if u := w.usage[0]; u.PromptTokens != 4 || u.AnswerTokens != 8 || u.Requests != 1 || u.Errors != 0 || u.Key != "k" || u.Model != "stories" {
		t.Errorf("%+v", u)
	}
	if u := w.usage[1]; u.PromptTokens != 2 || u.AnswerTokens < 1 || u.AnswerTokens >= 500 || u.Errors != 1 {
		t.Errorf("%+v", u)
	}
}

// TestDrain: a model that is replaced answers what it has begun.
func TestDrain(t *testing.T) {
	w := newWorld(t)
	started, done := make(chan struct{}), make(chan string, 1)
	go func() {
		close(started)
		_, answer := w.post(t, "completions", `{"model":"stories","prompt":[1,403],"max_tokens":300,"ignore_eos":true}`)
		done <- answer
	}()
	<-started
	time.Sleep(20 * time.Millisecond)
	if err := w.engine.Undeploy(serve.Target{Tenant: "t", Model: "stories"}); err != nil {
		t.Fatal(err)
	}
	if answer := <-done; !strings.Contains(answer, `"completion_tokens":300`) {
		t.Error(answer)
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
