package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/ergochat/readline"

	"tandem/fault"
	"tandem/llm"
)

// chatSession is a conversation under way.
type chatSession struct {
	*app
	speak    speaker
	system   string
	bounded  bool          // --max-tokens bounds an answer, not the context alone
	messages []llm.Message // of user and assistant in turn
}

// note tells the person something that is no part of an answer.
func (s *chatSession) note(format string, args ...any) {
	fmt.Fprintln(s.err, s.msg.Sprintf(format, args...))
}

// once answers one message.
func (s *chatSession) once(ctx context.Context, text string) error {
	s.messages = append(s.messages, llm.Message{Role: "user", Content: text})
	return s.answer(ctx)
}

// converse answers a line after the other, until there are no more.
func (s *chatSession) converse(ctx context.Context) error {
	// Here Ctrl-C stops an answer, and ends the conversation only where the next message is
	// waited for. SIGTERM still ends the program.
	interrupts := make(chan os.Signal, 1)
	signal.Notify(interrupts, os.Interrupt)
	defer signal.Stop(interrupts)
	ctx, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	terms := make(chan os.Signal, 1)
	signal.Notify(terms, syscall.SIGTERM)
	defer signal.Stop(terms)
	go func() {
		select {
		case <-terms:
			end()
		case <-ctx.Done():
		}
	}()
	lines, err := s.lines()
	if err != nil {
		return err
	}
	defer lines.Close()
	for ctx.Err() == nil {
		text, quoted, err := nextMessage(ctx, lines, interrupts)
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, readline.ErrInterrupt):
			return nil
		case err != nil:
			return fault.From(err, "tandem.chat")
		}
		done, err := s.line(ctx, text, quoted, interrupts)
		if err != nil || done {
			return err
		}
	}
	return nil
}

// quotes begin and end a message of several lines.
const quotes = `"""`

// nextMessage is a line, or all between quotes. An interrupt takes back what is not whole
// yet.
func nextMessage(ctx context.Context, from lineReader, interrupts <-chan os.Signal) (text string, quoted bool, err error) {
	line, err := nextLine(ctx, from, interrupts)
	text, quoted = strings.CutPrefix(line, quotes)
	if err != nil || !quoted {
		return line, false, err
	}
	var whole strings.Builder
	for {
		if end, ended := strings.CutSuffix(strings.TrimRight(text, " \t"), quotes); ended {
			whole.WriteString(end)
			break
		}
		whole.WriteString(text + "\n")
		if whole.Len() > maxMessageBytes {
			return "", true, messageTooLong()
		}
		text, err = nextLine(ctx, from, interrupts)
		if errors.Is(err, io.EOF) && ctx.Err() == nil {
			break // the input ends the message too
		}
		if errors.Is(err, readline.ErrInterrupt) {
			return "", true, nil
		}
		if err != nil {
			return "", true, err
		}
	}
	return strings.Trim(whole.String(), "\n"), true, nil
}

// nextLine waits for a line, for the end of ctx or for an interrupt: reading itself may
// wait for ever.
func nextLine(ctx context.Context, from lineReader, interrupts <-chan os.Signal) (string, error) {
	type line struct {
		text string
		err  error
	}
	read := make(chan line, 1)
	go func() {
		text, err := from.Readline()
		read <- line{text, err}
	}()
	select {
	case l := <-read:
		return l.text, l.err
	case <-interrupts:
		return "", readline.ErrInterrupt
	case <-ctx.Done():
		return "", io.EOF
	}
}

// lineReader is where messages come from.
type lineReader interface {
	Readline() (string, error)
	Close() error
}

// lines reads from a terminal, where lines can be edited and called back, or from a pipe.
func (s *chatSession) lines() (lineReader, error) {
	if !terminal(s.in) || !terminal(s.out) {
		return newPipeReader(s.in), nil
	}
	s.note("Write a message. /help lists commands; Ctrl-C stops an answer, Ctrl-D ends.")
	t := &terminalReader{}
	var err error
	t.Instance, err = readline.NewFromConfig(&readline.Config{Prompt: "> ", HistoryLimit: 1000, Listener: t.listen})
	return t, fault.From(err, "tandem.chat")
}

// terminalReader lets Ctrl-C take back what has been typed: only on an empty line it is
// an error.
type terminalReader struct {
	*readline.Instance
	typed int // characters of the line
}

func (t *terminalReader) listen(line []rune, _ int, _ rune) ([]rune, int, bool) {
	t.typed = len(line)
	return nil, 0, false
}

// Readline reads a line.
func (t *terminalReader) Readline() (string, error) {
	for {
		text, err := t.Instance.ReadLine()
		if t.typed == 0 || !errors.Is(err, readline.ErrInterrupt) {
			return text, err
		}
	}
}

// line takes a message or, unless it is quoted, a command. An error of one answer is told, and the
// conversation goes on from where it was before.
func (s *chatSession) line(ctx context.Context, text string, quoted bool, interrupts <-chan os.Signal) (done bool, err error) {
	before := slices.Clone(s.messages)
	ask := strings.TrimSpace(text) != ""
	if strings.HasPrefix(text, "/") && !quoted {
		if ask, done = s.command(text); done {
			return true, nil
		}
	} else if ask {
		s.messages = append(s.messages, llm.Message{Role: "user", Content: text})
	}
	if !ask {
		return false, nil
	}
	err = s.interruptible(ctx, interrupts)
	if err == nil || fault.KindOf(err) == fault.Canceled {
		return false, nil
	}
	s.messages = before
	if !terminal(s.in) {
		return false, err
	}
	s.fail(err)
	return false, nil
}

// interruptible answers until Ctrl-C; what has been said by then stays.
func (s *chatSession) interruptible(ctx context.Context, interrupts <-chan os.Signal) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		select {
		case <-interrupts:
			stop()
		case <-ctx.Done():
		}
	}()
	err := s.answer(ctx)
	select { // one that came as the answer ended is not for what follows
	case <-interrupts:
	default:
	}
	return err
}

// command obeys a line that begins with a slash. ask: the last message is to be
// answered; done: the conversation ends.
func (s *chatSession) command(line string) (ask, done bool) {
	name, rest, _ := strings.Cut(line, " ")
	rest = strings.TrimSpace(rest)
	switch name {
	case "/exit", "/quit":
		return false, true
	case "/help":
		for _, l := range chatCommands() {
			fmt.Fprintf(s.err, "  %-16s %s\n", l[0], s.msg.Text(l[1]))
		}
	case "/clear":
		s.messages = nil
		s.note("The conversation begins anew.")
	case "/undo":
		s.undo()
	case "/retry":
		if n := len(s.messages); n > 0 && s.messages[n-1].Role == "assistant" {
			s.messages = s.messages[:n-1]
		}
		return len(s.messages) > 0, false
	case "/edit":
		if rest == "" {
			s.note("Write the new message after /edit.")
			return false, false
		}
		s.undo()
		s.messages = append(s.messages, llm.Message{Role: "user", Content: rest})
		return true, false
	case "/system":
		s.system = rest
	case "/history":
		for _, m := range s.all() {
			fmt.Fprintf(s.out, "%s: %s\n", m.Role, m.Content)
		}
	default:
		s.note("There is no command %s. /help lists them.", name)
	}
	return false, false
}

// chatCommands are the commands and what they do.
func chatCommands() [][2]string {
	return [][2]string{
		{quotes, "begin a message of several lines, and end it"},
		{"/retry", "answer the last message anew"},
		{"/edit TEXT", "put TEXT in the place of the last message, and answer it"},
		{"/undo", "forget the last message and its answer"},
		{"/clear", "forget the whole conversation"},
		{"/system TEXT", "tell the model TEXT before the conversation"},
		{"/history", "show the conversation"},
		{"/exit", "end"},
	}
}

// undo forgets the last message and its answer.
func (s *chatSession) undo() {
	n := len(s.messages)
	if n > 0 && s.messages[n-1].Role == "assistant" {
		n--
	}
	s.messages = s.messages[:max(n-1, 0)]
}

// all is the conversation as the model is told it.
func (s *chatSession) all() []llm.Message {
	if s.system == "" {
		return s.messages
	}
	return append([]llm.Message{{Role: "system", Content: s.system}}, s.messages...)
}

// chatAnswer is what --json prints of an answer.
type chatAnswer struct {
	Role    string `json:"role"`
	Content string `json:"content"`
	Tokens  int    `json:"tokens"`
	// Finish is stop, length if the answer has all the tokens that it may have, or
	// interrupted.
	Finish llm.Finish `json:"finish_reason"`
	First  float64    `json:"first_token_ms"`
	Rate   float64    `json:"decode_tokens_per_s"` // from the first token on
}

// count notes how fast an answer came, of which the first and the last token are known.
func (a *chatAnswer) count(start time.Time, first, last saidPiece) {
	a.Tokens = last.tokens
	if a.Tokens > 0 {
		a.First = float64(first.at.Sub(start).Microseconds()) / 1e3
	}
	if seconds := last.at.Sub(first.at).Seconds(); seconds > 0 {
		a.Rate = float64(last.tokens-first.tokens) / seconds
	}
}

// answer says what the model answers to the conversation, as it comes.
func (s *chatSession) answer(ctx context.Context) (err error) {
	start := time.Now()
	var first, last saidPiece // of those with tokens
	a := chatAnswer{Role: "assistant"}
	for p, pieceErr := range s.speak(ctx, s.all()) {
		if pieceErr != nil {
			err = pieceErr
			break
		}
		if p.tokens > last.tokens {
			if last = p; first.tokens == 0 {
				first = p
			}
		}
		a.Content += p.text
		a.Finish = cmp.Or(p.finish, a.Finish)
		if !s.json {
			if _, err := io.WriteString(s.out, p.text); err != nil {
				return fault.From(err, "tandem.print")
			}
		}
	}
	stopped := err != nil && fault.KindOf(err) == fault.Canceled
	if err != nil && !stopped {
		return err
	}
	s.messages = append(s.messages, llm.Message{Role: "assistant", Content: a.Content})
	a.count(start, first, last)
	if stopped {
		a.Finish = "interrupted"
	}
	if s.json {
		return errors.Join(s.emit(a), err)
	}
	fmt.Fprintln(s.out)
	s.remark(a)
	return err
}

// remark says on a terminal how fast the answer came, and why it breaks off if it does.
func (s *chatSession) remark(a chatAnswer) {
	if !terminal(s.out) {
		return
	}
	s.note("[%d tokens, %.1f tokens/s, the first after %.0f ms]", a.Tokens, a.Rate, a.First)
	switch {
	case a.Finish != llm.FinishLength:
	case s.bounded:
		s.note("The answer breaks off: --max-tokens allows no more.")
	default:
		s.note("The answer breaks off: the context is full. /undo and /clear make room, and --context gives more.")
	}
}
