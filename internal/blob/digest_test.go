package blob

import (
	"strings"
	"testing"

	"tandem/fault"
)

func TestParseDigest(t *testing.T) {
	ok := "sha256:" + strings.Repeat("0a", 32)
	if d, err := ParseDigest(ok); err != nil || string(d) != ok {
		t.Errorf("ParseDigest(%q) = %q, %v", ok, d, err)
	}
	for _, s := range []string{
		"", "sha256:", strings.Repeat("0a", 32), "sha512:" + strings.Repeat("0a", 32),
		ok[:len(ok)-1], ok + "0", "SHA256:" + strings.Repeat("0a", 32), "sha256:" + strings.Repeat("0A", 32),
		"sha256:" + strings.Repeat("../", 21) + "a", ok[:len(ok)-1] + "\n", ok[:len(ok)-1] + "g",
	} {
		if d, err := ParseDigest(s); fault.KindOf(err) != fault.Invalid || d != "" || fault.RemedyOf(err) == "" {
			t.Errorf("ParseDigest(%q) = %q, %v; want Invalid with a remedy", s, d, err)
		}
	}
}

func TestSum(t *testing.T) {
	const want = Digest("sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad") // FIPS 180-2, B.1
	if got := Sum([]byte("abc")); got != want {
		t.Errorf("Sum(abc) = %s", got)
	}
	if got, n, err := SumReader(strings.NewReader("abc")); got != want || n != 3 || err != nil {
		t.Errorf("SumReader(abc) = %s, %d, %v", got, n, err)
	}
}
