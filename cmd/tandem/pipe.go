package main

import (
	"bufio"
	"io"
	"strings"
)

// maxLineBytes bounds a message that comes over a pipe.
const maxLineBytes = 16 << 20

// pipeReader reads lines of a pipe or a file.
type pipeReader struct{ lines *bufio.Scanner }

func newPipeReader(r io.Reader) pipeReader {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxLineBytes)
	return pipeReader{lines}
}

// Readline is the next line; io.EOF at the end.
func (p pipeReader) Readline() (string, error) {
	if p.lines.Scan() {
		return strings.TrimSuffix(p.lines.Text(), "\r"), nil
	}
	if err := p.lines.Err(); err != nil {
		return "", err
	}
	return "", io.EOF
}

// Close does nothing: the stream is not the reader's.
func (p pipeReader) Close() error { return nil }
