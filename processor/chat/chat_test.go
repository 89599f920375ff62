package chat

import (
	"bufio"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"tandem/fault"
	"tandem/processor/chat/jinja"
)

type chatCase struct {
	Name      string
	Template  string
	Variables map[string]json.RawMessage
	Want      *string
	Error     string
}

// render gives a case's variables to its template.
func (c *chatCase) render() (string, error) {
	t, err := Parse(c.Template)
	if err != nil {
		return "", err
	}
	arguments := map[string]any{}
	for name, v := range c.Variables {
		arguments[name] = v
	}
	return t.Render(Conversation{Arguments: arguments, Now: time.Date(2026, 3, 7, 9, 5, 2, 0, time.UTC)})
}

// TestEqualsTransformers: templates write what transformers writes, byte for byte, and
// fail where it fails. The cases of testdata are of templates made for this test;
// CHAT_CASES names more, which bench/chat_cases.py writes of real ones.
func TestEqualsTransformers(t *testing.T) {
	files := []string{"testdata/cases.jsonl"}
	if more := os.Getenv("CHAT_CASES"); more != "" {
		files = append(files, more)
	}
	for _, path := range files {
		file, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		n, bad, templates := 0, 0, map[string]bool{}
		for r := bufio.NewReader(file); ; n++ {
			line, err := r.ReadBytes('\n')
			if err != nil {
				break
			}
			var c chatCase
			if err := json.Unmarshal(line, &c); err != nil {
				t.Fatal(err)
			}
			templates[c.Template] = true
			got, err := c.render()
			switch {
			case c.Want == nil && err == nil:
				t.Errorf("%s: no error, expected %s", c.Name, c.Error)
			case c.Want != nil && err != nil:
				t.Errorf("%s: %v", c.Name, err)
			case c.Want != nil && got != *c.Want:
				t.Errorf("%s:\n got %q\nwant %q", c.Name, got, *c.Want)
			default:
				continue
			}
			bad++
		}
		if n < 40 {
			t.Errorf("%s has %d cases", path, n)
		}
		t.Logf("%s: %d cases of %d templates, %d differ", path, n, len(templates), bad)
	}
}

// TestEndless: templates that loop, recurse or grow for ever end with an error.
func TestEndless(t *testing.T) {
	for name, source := range map[string]string{
		"loop":     `{% for i in range(1000000000000) %}x{% endfor %}`,
		"nested":   `{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}`,
		"macro":    `{% macro f(x) %}{{ f(x) }}{% endmacro %}{{ f(1) }}`,
		"double":   `{% set n = namespace(s="xx") %}{% for i in range(100) %}{% set n.s = n.s + n.s %}{% endfor %}`,
		"repeat":   `{{ "x" * 1000000000000 }}`,
		"list":     `{% set n = namespace(s=[1]) %}{% for i in range(100) %}{% set n.s = n.s + n.s %}{% endfor %}`,
		"times":    `{{ [1] * 100000000000 }}`,
		"nest":     `{% set n = namespace(s=[]) %}{% for i in range(100000) %}{% set n.s = [n.s] %}{% endfor %}{{ n.s }}`,
		"replace":  `{% set s = "x" * 1000000 %}{{ s.replace("x", s) }}`,
		"join":     `{% set s = "x" * 1000000 %}{{ s | join(s) }}`,
		"itself":   `{% set n = namespace() %}{% set n.n = n %}{{ n }}`,
		"width":    `{{ "%1000000000d" % 1 }}`,
		"center":   `{{ "x".center(10000000000) }}`,
		"indent":   `{{ ("\n" * 1000000) | indent(1000000, true, true) }}`,
		"power":    `{{ 10 ** 400 }}`,
		"captures": `{% set n = namespace(s="x" * 1000000) %}{% for i in range(1000000) %}{% set n.s %}{{ n.s }}y{% endset %}{% endfor %}`,
		"output":   `{% set s = "x" * 1000000 %}{% for i in range(100000) %}{{ s }}{% endfor %}`,
		"map":      `{{ ["a"] | map(filter="upper") | map(filter="center") | join }}{{ "x" * 100000000 }}`,
		"fill":     `{{ "x".ljust(10000000, "y" * 10000000) }}`,
		"equal":    `{% set a = "x" * 10000000 %}{% set b = a + "y" %}{% set c = a + "y" %}{% for i in range(1000000) %}{% if b == c %}{% endif %}{% endfor %}`,
		"methods":  `{% set a = "x" * 10000000 %}{% set b = a + "y" %}{% for i in range(1000000) %}{% if b.startswith(a) %}{% endif %}{% endfor %}`,
		"strip":    `{% set a = "x" * 1000000 %}{% set b = "y" * 1000000 + "x" %}{{ a.strip(b) }}{{ a * 10000000 }}`,
		"calls":    `{% macro f(n) %}{% if n > 0 %}{{ f(n-1) }}{{ f(n-1) }}{% endif %}{% endmacro %}{{ f(60) }}`,
	} {
		tpl, err := Parse(source)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		_, err = tpl.Render(Conversation{Messages: json.RawMessage("[]")})
		if err == nil || fault.KindOf(err) != fault.TooLarge && fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	deep := strings.Repeat("(", 100000) + "1" + strings.Repeat(")", 100000)
	if _, err := Parse("{{ " + deep + " }}"); err == nil {
		t.Error("a hundred thousand parentheses were accepted")
	}
	if _, err := Parse(strings.Repeat("{% if 1 %}", 100000)); err == nil {
		t.Error("a hundred thousand ifs were accepted")
	}
}

func TestErrorsSayWhere(t *testing.T) {
	for source, want := range map[string]string{
		"a\n{{ x.y.z }}":                      "line 2",
		"{% frobnicate %}":                    "frobnicate",
		"{{ x | frobnicate }}":                "frobnicate",
		"{{ 1 is frobnicate }}":               "frobnicate",
		"\n\n{{ 'open":                        "line 3",
		"{% if x %}":                          "endif",
		"{{ raise_exception('No, not so') }}": "No, not so",
		"{% include 'x' %}":                   "include",
		"{{ [].append(1) }}":                  "append",
	} {
		c := chatCase{Template: source}
		if _, err := c.render(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, expected %q", source, err, want)
		}
	}
}

func FuzzRender(f *testing.F) {
	for _, name := range []string{"values", "chatml", "strict"} {
		source, err := os.ReadFile("testdata/" + name + ".jinja")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(source))
		for _, line := range strings.Split(string(source), "\n") {
			f.Add(line)
		}
	}
	messages := json.RawMessage(`[{"role": "user", "content": "x"}, {"role": "assistant", "content": null, "tool_calls": [{"function": {"name": "f", "arguments": {"a": [1, 2.5, true]}}}]}]`)
	f.Fuzz(func(t *testing.T, source string) {
		tpl, err := jinja.Parse(source)
		if err != nil {
			return
		}
		_, _ = tpl.Render(map[string]any{"messages": messages, "tools": nil}, time.Unix(0, 0), jinja.Limits{Steps: 20_000, OutputBytes: 1 << 16, Depth: 20}) // an error is fine, a panic is not
	})
}
