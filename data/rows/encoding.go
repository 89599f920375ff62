package rows

import (
	"bufio"
	"bytes"
	"io"
	"unicode/utf8"

	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"

	"tandem/fault"
)

// sniffBytes is how much of a file is looked at before it's read.
const sniffBytes = 1 << 20

// decode gives the text as UTF-8 without a byte order mark. Without a name for the
// encoding it's told by the mark, or by what the text begins with: what isn't UTF-8
// is taken for GB18030 if it looks like Chinese.
func decode(text *bufio.Reader, name string) (io.Reader, error) {
	head, err := text.Peek(sniffBytes)
	if err != nil && err != io.EOF {
		return nil, err
	}
	switch {
	case bytes.HasPrefix(head, []byte("\xef\xbb\xbf")) && (name == "" || isUTF8(name)):
		_, err := text.Discard(3)
		return text, err
	case name == "" && (bytes.HasPrefix(head, []byte("\xff\xfe")) || bytes.HasPrefix(head, []byte("\xfe\xff"))):
		return transform.NewReader(text, unicode.UTF16(unicode.LittleEndian, unicode.ExpectBOM).NewDecoder()), nil
	case name == "" && !validUTF8(head) && looksChinese(head):
		return transform.NewReader(text, simplifiedchinese.GB18030.NewDecoder()), nil
	case name == "" || isUTF8(name):
		return text, nil
	}
	e, err := htmlindex.Get(name)
	if err != nil {
		return nil, fault.New("rows.open", fault.Invalid, "there is no encoding %.40q", name).
			Try("use utf-8, gb18030, gbk, big5, windows-1252 or another name that browsers know")
	}
	return transform.NewReader(text, e.NewDecoder()), nil
}

func isUTF8(name string) bool {
	e, err := htmlindex.Get(name)
	return err == nil && e == unicode.UTF8
}

// validUTF8 allows for a character that the end of what was looked at cuts.
func validUTF8(head []byte) bool {
	for cut := 0; cut < utf8.UTFMax && cut <= len(head); cut++ {
		if utf8.Valid(head[:len(head)-cut]) {
			return true
		}
	}
	return false
}

// looksChinese reports whether nearly all bytes above ASCII come in pairs of the
// rows 1 to 87 of GB 2312: its punctuation and characters. Letters with accents,
// which other encodings put there, stand between ASCII letters instead.
func looksChinese(head []byte) bool {
	pairs, others := 0, 0
	for i := 0; i < len(head); i++ {
		switch b := head[i]; {
		case b < 0x80:
		case i+1 < len(head) && b >= 0xa1 && b <= 0xf7 && head[i+1] >= 0xa1 && head[i+1] <= 0xfe:
			pairs++
			i++
		default:
			others++
		}
	}
	return pairs > 9*others
}
