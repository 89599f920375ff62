package openai

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"tandem/internal/serve"
	"tandem/llm"
)

// TestAnswersAreLetInTogether: a request whose answers do not fit the queue together is
// refused before anything is sent, in a stream too, and leaves nothing behind.
func TestAnswersAreLetInTogether(t *testing.T) {
	w := newLimited(t, llm.Limits{MaxSequences: 1, MaxQueued: 2})
	lease, err := w.engine.Language(t.Context(), serve.LanguageCall{Tenant: "t", Model: "stories"})
	if err != nil {
		t.Fatal(err)
	}
	defer lease.Release()
	for _, route := range []string{"completions", "chat/completions"} {
		for _, stream := range []string{"false", "true"} {
			// Two long answers: one is computed and one waits, until it is over: room for one more.
			for tries := 1; ; tries++ {
				long := llm.Request{Prompt: []int{1}, IgnoreEnd: true, Sampling: llm.Sampling{Logprobs: -1}}
				queued, err := lease.Queue(long, long)
				if err != nil {
					t.Fatal(err)
				}
				r, err := http.Post(w.URL+"/v1/"+route, "application/json", strings.NewReader(with(route, "n", `2,"stream":`+stream)))
				if err != nil {
					t.Fatal(err)
				}
				_ = r.Body.Close()
				left := lease.Stats()
				for _, q := range queued {
					q.Cancel()
				}
				for s := lease.Stats(); s.Waiting+s.Running > 0; s = lease.Stats() {
					time.Sleep(time.Millisecond)
				}
				if media := r.Header.Get("Content-Type"); r.StatusCode == http.StatusTooManyRequests && media == "application/json" && left.Waiting+left.Running <= 2 {
					break
				} else if tries == 20 {
					t.Fatalf("%s, stream %s: %d with %q; %+v", route, stream, r.StatusCode, media, left)
				}
			}
			// Never at all: that is no reason to try again.
			if status, answer := w.post(t, route, with(route, "n", `4,"stream":`+stream)); status != 400 || !strings.Contains(answer, "ask for fewer answers") {
				t.Errorf("%s, stream %s: %d %s", route, stream, status, answer)
			}
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, u := range w.usage {
		if u.Errors != 0 {
			t.Errorf("a refused request is in the ledger: %+v", u)
		}
	}
}

// TestLongPrompts: beyond the context, at any length: the protocol's own error, and it does
// not know how long.
func TestLongPrompts(t *testing.T) {
	w := newWorld(t)
	for _, size := range []int{4 << 10, 15 << 20} {
		text := strings.Repeat("One day ", size/8)
		for route, body := range map[string]string{
			"completions":      with("completions", "prompt", `"`+text+`"`),
			"chat/completions": with("chat/completions", "messages", `[{"role":"user","content":"`+text+`"}]`),
		} {
			status, answer := w.post(t, route, body)
			if status != 400 || !strings.Contains(answer, `"code":"context_length_exceeded"`) || !strings.Contains(answer, "the prompt has 512 tokens or more") {
				t.Errorf("%s of %d bytes: %d %.300s", route, size, status, answer)
			}
		}
	}
}
