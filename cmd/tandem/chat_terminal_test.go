//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode"

	"golang.org/x/sys/unix"

	"tandem/model/gguf/gguftest"
)

// terminalPair opens a terminal: what a person has, and what the program has.
func terminalPair(t *testing.T) (person, program *os.File) {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Skip("NOT TESTED ON A TERMINAL: ", err)
	}
	t.Cleanup(func() { person.Close() })
	raw, err := person.SyscallConn() // Fd would end deadlines
	if err != nil {
		t.Fatal(err)
	}
	var number int
	var ioctl error
	if err := raw.Control(func(fd uintptr) {
		if ioctl = unix.IoctlSetPointerInt(int(fd), unix.TIOCSPTLCK, 0); ioctl == nil {
			number, ioctl = unix.IoctlGetInt(int(fd), unix.TIOCGPTN)
		}
		if ioctl == nil {
			ioctl = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: 80})
		}
	}); err != nil || ioctl != nil {
		t.Fatal(err, ioctl)
	}
	program, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	return person, program
}

// typist types on a terminal and reads what appears.
type typist struct {
	t        *testing.T
	terminal *os.File
	unread   string
}

func (p *typist) types(keys string) {
	p.t.Helper()
	if _, err := p.terminal.WriteString(keys); err != nil {
		p.t.Fatal(err)
	}
}

// sees reads up to a text, and returns what came before it.
func (p *typist) sees(text string) string {
	p.t.Helper()
	for {
		if before, after, found := strings.Cut(p.unread, text); found {
			p.unread = after
			return before
		}
		p.reads()
	}
}

// reads reads what appears next.
func (p *typist) reads() {
	p.t.Helper()
	if err := p.terminal.SetReadDeadline(time.Now().Add(60 * time.Second)); err != nil {
		p.t.Fatal(err)
	}
	var b [256]byte
	n, err := p.terminal.Read(b[:])
	if err != nil {
		p.t.Fatalf("%v after %q", err, p.unread)
	}
	p.unread += string(b[:n])
	if before, after, asked := strings.Cut(p.unread, whereIsTheCursor); asked {
		p.unread = before + after
		p.types("\x1b[1;1R")
	}
}

// controls are what moves the cursor and erases, whole or cut off.
var controls = regexp.MustCompile(`\x1b(\[[0-9;?]*[A-Za-z]?)?`)

// whereIsTheCursor is a question that terminals answer themselves.
const whereIsTheCursor = "\x1b[6n"

// TestChatOnATerminal: lines are edited and called back, Ctrl-C stops an answer and not
// the conversation, Ctrl-D ends it.
func TestChatOnATerminal(t *testing.T) {
	dir := t.TempDir()
	storyTeller(t, filepath.Join(dir, "short.gguf"))
	// An answer does not end before a terminal is full that nobody reads.
	gguftest.With(t, filepath.Join(dir, "short.gguf"), filepath.Join(dir, "stories.gguf"), map[string]any{"llama.context_length": uint32(1 << 14)})
	person, program := terminalPair(t)
	// Nothing that this model finds improbable ends an answer soon; none of it looks like the prompt.
	cmd := exec.Command(os.Args[0], "chat", "stories.gguf", "--temperature", "20", "--seed", "2", "--threads", "1")
	cmd.Env = append(os.Environ(), asProgram+"=1", "TERM=xterm", "LANG=C", "HOME="+dir)
	cmd.Dir, cmd.Stdin, cmd.Stdout, cmd.Stderr = dir, program, program, program
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	program.Close()
	t.Cleanup(func() { _ = cmd.Process.Kill() }) // an end that was seen is no matter
	const prompt, left, backspace, up, interrupt, end = "> \x1b[0K", "\x1b[D", "\x7f", "\x1b[A", "\x03", "\x04"
	p := &typist{t: t, terminal: person}
	p.sees(prompt)
	p.types("Once upon a tome" + left + left + backspace + "i\r")
	p.sees("\n")
	// Until the answer has begun Ctrl-C is a key like others.
	for !strings.ContainsFunc(controls.ReplaceAllString(p.unread, ""), unicode.IsLetter) {
		p.reads()
	}
	p.types(interrupt)
	p.sees(" tokens, ")
	p.sees(prompt)
	p.types("a line taken back" + interrupt)
	p.sees("^C\r\n")
	p.sees(prompt)
	p.types("/history\r")
	p.sees("user: Once upon a time\r\n")
	p.sees("assistant: ")
	p.sees(prompt)
	p.types(up + "\r")
	p.sees("user: Once upon a time\r\n")
	p.sees("assistant: ")
	p.sees(prompt)
	// A character of double width is one to the cursor and to the keys.
	p.types("/在海在边" + left + left + backspace + backspace + "岸" + "\r")
	p.sees("There is no command /岸在边.")
	p.sees(prompt)
	p.types(end)
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v after %q", err, p.unread)
	}
}

// TestClosingOnATerminal: closing that takes its time says why, and an interrupt ends it.
func TestClosingOnATerminal(t *testing.T) {
	person, program := terminalPair(t)
	defer program.Close()
	a := newApp(nil, strings.NewReader(""), io.Discard, program, func(string) string { return "" })
	reader := &typist{t: t, terminal: person}
	for _, interrupted := range []bool{false, true} {
		ctx, interrupt := context.WithCancel(t.Context())
		written, closed := make(chan struct{}), make(chan error, 1)
		go func() { closed <- a.closing(ctx, func() error { <-written; return nil }) }()
		reader.sees("Keeping the packed weights")
		if interrupted {
			interrupt()
		} else {
			close(written)
		}
		if err := <-closed; errors.Is(err, context.Canceled) != interrupted {
			t.Errorf("interrupted %v: closing says %v", interrupted, err)
		}
		reader.sees("\x1b[K") // the line is taken away
		interrupt()
		if interrupted {
			close(written)
		}
	}
}
