package main

import (
	"bufio"
	"errors"
	"io"
	"strings"

	"tandem/fault"
)

// maxMessageBytes bounds a message, and a line of a pipe.
const maxMessageBytes = 16 << 20

func messageTooLong() error {
	return fault.New("tandem.chat", fault.TooLarge, "a message has more than %d MiB", maxMessageBytes>>20)
}

// pipeReader reads lines of a pipe or a file.
type pipeReader struct{ lines *bufio.Scanner }

func newPipeReader(r io.Reader) pipeReader {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxMessageBytes)
	return pipeReader{lines}
}

// Readline is the next line; io.EOF at the end.
func (p pipeReader) Readline() (string, error) {
	if p.lines.Scan() {
		return strings.TrimSuffix(p.lines.Text(), "\r"), nil
	}
	if err := p.lines.Err(); errors.Is(err, bufio.ErrTooLong) {
		return "", messageTooLong()
	} else if err != nil {
		return "", err
	}
	return "", io.EOF
}

// Close does nothing: the stream is not the reader's.
func (p pipeReader) Close() error { return nil }
