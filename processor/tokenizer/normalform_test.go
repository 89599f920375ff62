package tokenizer

import (
	"math/rand/v2"
	"strings"
	"testing"

	"golang.org/x/text/unicode/norm"
)

// TestNormalFormsAreOfTheirVersion: what Hugging Face's tokenizers 0.23.3 gives, which was
// asked about every character of Unicode beside marks of six classes: 109 differed from
// golang.org/x/text, all younger than Unicode 9.
func TestNormalFormsAreOfTheirVersion(t *testing.T) {
	for _, c := range []struct {
		form      norm.Form
		text, get string
	}{
		{norm.NFC, "a\u0c3c\u0334", "a\u0c3c\u0334"},               // U+0C3C is of Unicode 14
		{norm.NFC, "e\u0301\u0c3ce\u0301", "é\u0c3cé"},             // what is around it is composed
		{norm.NFC, "e\u0c3c\u0301", "e\u0c3c\u0301"},               // but not past it
		{norm.NFC, "\U0001f9ff e\u0301", "\U0001f9ff é"},           // a young character that is no mark
		{norm.NFC, "\U00011935\U00011930", "\U00011935\U00011930"}, // a composite of Unicode 13
		{norm.NFD, "\u08d4\u0334", "\u0334\u08d4"},                 // U+08D4 is of Unicode 9
		{norm.NFKC, "ﬁ\u07fd\u0334", "fi\u07fd\u0334"},
		{norm.NFD, "e" + strings.Repeat("\u0301\u0327", 40), "e" + strings.Repeat("\u0327", 40) + strings.Repeat("\u0301", 40)},
		{norm.NFC, "e" + strings.Repeat("\u0301\u0327", 40), "ȩ" + strings.Repeat("\u0327", 39) + strings.Repeat("\u0301", 40)},
	} {
		if got := normalForm(c.form)(c.text); got != c.get {
			t.Errorf("form %d of %+q: %+q, want %+q", c.form, c.text, got, c.get)
		}
	}
}

// TestLongFormsEqualShortOnes: the definition, which is for long runs of marks, gives what
// x/text does where there are none.
func TestLongFormsEqualShortOnes(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 5))
	some := []rune("aeoKΩſぱ가각각\u0301\u0327\u0334\u0345\u3099\u0344\u0958ﬁ①क\u093c\u0308\u0307\u1e9b\u0323 \u034f")
	for range 20000 {
		var s []rune
		for range r.IntN(9) {
			s = append(s, some[r.IntN(len(some))])
		}
		for _, f := range []norm.Form{norm.NFC, norm.NFD, norm.NFKC, norm.NFKD} {
			if got, want := longForm(f, string(s)), f.String(string(s)); got != want {
				t.Fatalf("form %d of %+q: %+q, want %+q", f, string(s), got, want)
			}
		}
	}
}

// TestCategoriesAreOfTheirVersion: characters that were asked about.
func TestCategoriesAreOfTheirVersion(t *testing.T) {
	for _, c := range []struct {
		does      normalizer
		text, get string
	}{
		{stripAccents, "a\u0301\u08d4\u07fd\u1cf2", "a\u07fd"},
		{bert{accents: true}.normalize, "a\u0301\u08d4\u1885\ua9bd", "a\u08d4\u1885\ua9bd"},
		{bert{clean: true}.normalize, "a\u200d\u00ad\u0890\ue000\U00013430", "a\u0890\U00013430"},
		{lowercase, "Ÿ\u1c89\ua7cb\ua7dc\U00010d50\U00016eb8", "ÿ\u1c8a\u0264\u019b\U00010d70\U00016ed3"},
	} {
		if got := c.does(c.text); got != c.get {
			t.Errorf("%+q: %+q, want %+q", c.text, got, c.get)
		}
	}
}
