package message

import (
	"context"
	"errors"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"tandem/fault"
)

func env(values map[string]string) func(string) string {
	return func(name string) string { return values[name] }
}

func TestChoose(t *testing.T) {
	for _, tc := range []struct {
		flag string
		env  map[string]string
		want string
	}{
		{"", nil, "en"},
		{"", map[string]string{"LANG": "C"}, "en"},
		{"", map[string]string{"LANG": "POSIX"}, "en"},
		{"", map[string]string{"LANG": "zh_CN.UTF-8"}, "zh"},
		{"", map[string]string{"LANG": "zh_TW.UTF-8@radical"}, "zh"},
		{"", map[string]string{"LANG": "de_DE.UTF-8"}, "en"},
		{"", map[string]string{"LANG": "zh_CN.UTF-8", "LC_MESSAGES": "en_US.UTF-8"}, "en"},
		{"", map[string]string{"LC_ALL": "zh_CN", "LC_MESSAGES": "en_US.UTF-8"}, "zh"},
		{"", map[string]string{"LANG": "zh_CN.utf8"}, "zh"},
		{"", map[string]string{"LANG": "zh_CN.GB18030"}, "en"},
		{"", map[string]string{"LANG": "zh_CN.GBK@x"}, "en"},
		{"zh", map[string]string{"LC_ALL": "en_US.UTF-8"}, "zh"},
		{"en", map[string]string{"LANG": "zh_CN.UTF-8"}, "en"},
	} {
		if got := Choose(tc.flag, env(tc.env)); got != tc.want {
			t.Errorf("Choose(%q, %v) = %q, want %q", tc.flag, tc.env, got, tc.want)
		}
	}
}

var anyVerb = regexp.MustCompile(`%(?:\[(\d+)\])?[-+# 0]*\d*(?:\.\d+)?([a-zA-Z])`)

func arguments(format string) []string {
	var all []string
	next := 1
	for _, m := range anyVerb.FindAllStringSubmatch(strings.ReplaceAll(format, "%%", ""), -1) {
		if m[1] != "" {
			next, _ = strconv.Atoi(m[1])
		}
		for len(all) < next {
			all = append(all, "")
		}
		all[next-1] = m[2]
		next++
	}
	return all
}

// TestCatalogue: no format twice, arguments of the same kind in both languages, and a
// translation that is one.
func TestCatalogue(t *testing.T) {
	seen := map[string]bool{}
	for _, e := range entries() {
		if seen[e.en] {
			t.Errorf("%q is there twice", e.en)
		}
		seen[e.en] = true
		a, b := arguments(e.en), arguments(e.zh)
		for i := range a { // what is quoted may be said without quotes
			if a[i] == "q" && i < len(b) && b[i] == "s" {
				a[i] = "s"
			}
		}
		if !slices.Equal(a, b) {
			t.Errorf("%q takes %v, %q takes %v", e.en, a, e.zh, b)
		}
		if e.zh == "" {
			t.Errorf("%q has no Chinese", e.en)
		}
		if strings.HasSuffix(e.en, "\n") != strings.HasSuffix(e.zh, "\n") {
			t.Errorf("%q and %q end differently", e.en, e.zh)
		}
	}
}

// TestEveryErrorIsFormattedAlike: Chinese from the arguments, and from the finished
// English text, as it comes from a server.
func TestEveryErrorIsFormattedAlike(t *testing.T) {
	zh := New("zh")
	for _, e := range []*fault.Error{
		fault.New("a.b", fault.NotFound, "there is no model %.100q", `a "b"`),
		fault.New("a.b", fault.Conflict, "version %d of model %q is deployed", 3, "m"),
		fault.New("a.b", fault.TooLarge, "the body has more than the limit of %d bytes", 1024),
	} {
		direct, _ := zh.Error(e)
		if direct == e.Message() {
			t.Errorf("%q is not translated", direct)
		}
		if text := zh.Text(e.Message()); text != direct {
			t.Errorf("%q by its arguments, %q by its text", direct, text)
		}
	}
}

func TestError(t *testing.T) {
	zh, en := New("zh"), New("en")
	_, missing := os.Open("/no/such/file")
	err := fault.Wrap(missing, "x.y", fault.NotFound, "the data cannot be read").Try("choose another --out")
	for _, tc := range []struct {
		p               *Printer
		err             error
		message, remedy string
	}{
		{en, err, "the data cannot be read: open /no/such/file: no such file or directory", "choose another --out"},
		{zh, err, "无法读取数据：open /no/such/file：没有那个文件或目录", "另选 --out"},
		{zh, fault.Wrap(err, "z", fault.Invalid, ""), "无法读取数据：open /no/such/file：没有那个文件或目录", "另选 --out"},
		{zh, errors.Join(err, errors.New("strange")), "无法读取数据：open /no/such/file：没有那个文件或目录\nstrange", "另选 --out"},
		{zh, fault.New("a", fault.Invalid, "nobody translated %d of this", 3), "nobody translated 3 of this", ""},
		// A server of a protocol that has no field for the remedy puts it into parentheses.
		{zh, fault.New("a", fault.Invalid, "%s", "the model has no chat template (use a model that was trained to chat, or ask for a completion)"),
			"模型没有对话模板（使用经过对话训练的模型，或改用续写）", ""},
		{zh, fault.New("a", fault.Invalid, "%s", "the loss of the test set after epoch 2 is +Inf (choose another --out)"), "第 2 轮之后测试集的损失为 +Inf（另选 --out）", ""},
		{zh, fault.New("a", fault.Invalid, "%s", "nobody translated this (choose another --out)"), "nobody translated this (choose another --out)", ""},
		{en, fault.New("a", fault.Canceled, ""), "canceled", ""},
		// What only the system knows of still has a remedy, and is said once.
		{en, fault.From(missing, "a"), "open /no/such/file: no such file or directory", "check the path"},
		{en, errors.Join(fault.Wrap(missing, "a", fault.NotFound, "reading x"), missing), "reading x: open /no/such/file: no such file or directory", "check the path"},
		{en, errors.Join(context.Canceled, fault.From(context.Canceled, "a")), "canceled", ""},
	} {
		if m, r := tc.p.Error(tc.err); m != tc.message || r != tc.remedy {
			t.Errorf("%v: %q, %q, want %q, %q", tc.err, m, r, tc.message, tc.remedy)
		}
	}
}

func TestWidthAndTable(t *testing.T) {
	for text, want := range map[string]int{"abc": 3, "模型": 4, "a模，": 5, "é": 1, "": 0} {
		if got := Width(text); got != want {
			t.Errorf("Width(%q) = %d, want %d", text, got, want)
		}
	}
	var b strings.Builder
	if err := WriteTable(&b, "  ", [][]string{{"名称", "X"}, {"a", "b"}, {"long name", ""}}); err != nil {
		t.Fatal(err)
	}
	if got, want := b.String(), "  名称       X\n  a          b\n  long name\n"; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// TestTableOfControls: what data holds ends no line, and commands no terminal.
func TestTableOfControls(t *testing.T) {
	var b strings.Builder
	given := [][]string{{"a\nb", "c"}, {"\x1b[31mred", "tab\t红"}}
	if err := WriteTable(&b, "", given); err != nil {
		t.Fatal(err)
	}
	if got, want := b.String(), "a\\nb         c\n\\x1b[31mred  tab\\t红\n"; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if given[0][0] != "a\nb" {
		t.Error("the rows that were given are changed")
	}
}

func TestCount(t *testing.T) {
	if got := New("en").Count(60000) + " " + New("zh").Count(60000); got != "60,000 60,000" {
		t.Errorf("Count: %s", got)
	}
}

// FuzzText: no text, however odd, breaks a printer or gets lost.
func FuzzText(f *testing.F) {
	f.Add("there is no model \"x\": a: b")
	f.Add("%s%d%!")
	zh := New("zh")
	f.Fuzz(func(t *testing.T, s string) {
		if got := zh.Text(s); got == "" && s != "" || strings.Contains(got, "%!") && !strings.Contains(s, "%!") {
			t.Errorf("%q became %q", s, got)
		}
	})
}
