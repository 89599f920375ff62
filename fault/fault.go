package fault

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"
)

// Kind says what went wrong in terms that a caller can act upon. The list is
// closed: a protocol maps every one of them.
type Kind uint8

const (
	Internal        Kind = iota // a defect of Tandem or of the machine
	Invalid                     // the input is wrong: sending it again will not help
	NotFound                    // no such thing, or none that this caller may know of
	Unauthenticated             // no key, or not a valid one
	Denied                      // the key is valid but its role does not allow this
	Conflict                    // the state of the thing does not allow this now
	TooLarge                    // a limit on size is exceeded
	Exhausted                   // a queue or quota is full: try later
	Unavailable                 // not ready, draining, or starting
	Deadline                    // the caller's time ran out
	Canceled                    // the caller went away
	NoSpace                     // the disk or the memory is full
	Corrupt                     // stored bytes are not what they were
	Unsupported                 // well-formed, but Tandem does not do this
)

var kindNames = [...]string{
	"internal", "invalid", "not found", "unauthenticated", "denied", "conflict", "too large",
	"exhausted", "unavailable", "deadline", "canceled", "no space", "corrupt", "unsupported",
}

// String is such as "not found".
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("kind(%d)", k)
}

// Kinds returns every kind, for tests that a protocol's mapping is complete.
func Kinds() []Kind {
	all := make([]Kind, len(kindNames))
	for i := range all {
		all[i] = Kind(i)
	}
	return all
}

// Error is an error with a kind. Op names the operation as "package.verb".
type Error struct {
	Op     string
	Kind   Kind
	Format string // fmt format of the message, in English; the key of its translations
	Args   []any
	Remedy string // what the user can do, in English; empty if nothing
	Err    error  // cause, or nil
}

// New makes an Error. A trailing %w is not used for the cause: see Wrap.
func New(op string, kind Kind, format string, args ...any) *Error {
	return &Error{Op: op, Kind: kind, Format: format, Args: args}
}

// Wrap makes an Error with a cause. With an empty format the cause is the message.
func Wrap(err error, op string, kind Kind, format string, args ...any) *Error {
	return &Error{Op: op, Kind: kind, Format: format, Args: args, Err: err}
}

// From wraps a foreign error under op with the kind that KindOf finds in it.
// It returns nil for nil.
func From(err error, op string) error {
	if err == nil {
		return nil
	}
	return &Error{Op: op, Kind: KindOf(err), Err: err}
}

// Try adds what the user can do.
func (e *Error) Try(remedy string) *Error {
	e.Remedy = remedy
	return e
}

// Message is the text without operation and remedy: the message, then the cause.
func (e *Error) Message() string {
	switch {
	case e.Format == "" && e.Err == nil:
		return e.Kind.String()
	case e.Format == "":
		return causeText(e.Err)
	case e.Err == nil:
		return fmt.Sprintf(e.Format, e.Args...)
	}
	return fmt.Sprintf(e.Format, e.Args...) + ": " + causeText(e.Err)
}

// causeText omits the operations of nested errors, also of those that others have joined
// or put into a text: they are for logs, not for the person who reads the message.
func causeText(err error) string {
	var inner []error
	switch e := err.(type) {
	case *Error:
		return e.Message()
	case interface{ Unwrap() []error }:
		inner = e.Unwrap()
	case interface{ Unwrap() error }:
		inner = []error{e.Unwrap()}
	}
	text := err.Error()
	for _, e := range inner {
		if e != nil {
			text = strings.Replace(text, e.Error(), causeText(e), 1)
		}
	}
	return text
}

// Error is the operation, Message and the remedy.
func (e *Error) Error() string {
	s := e.Message()
	if e.Op != "" {
		s = e.Op + ": " + s
	}
	if e.Remedy != "" {
		s += " (" + e.Remedy + ")"
	}
	return s
}

// Unwrap is the cause, or nil.
func (e *Error) Unwrap() error { return e.Err }

// KindOf is the kind of err: that of the outermost Error in its chain, else one
// derived from the standard library's errors, else Internal.
func KindOf(err error) Kind {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return Deadline
	case errors.Is(err, context.Canceled):
		return Canceled
	case errors.Is(err, fs.ErrNotExist):
		return NotFound
	case errors.Is(err, fs.ErrPermission):
		return Denied
	case errors.Is(err, fs.ErrExist), errors.Is(err, syscall.EADDRINUSE):
		return Conflict
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT), errors.Is(err, syscall.ENOMEM):
		return NoSpace
	}
	return Internal
}

// RemedyOf is the first remedy in the chain of err, or "".
func RemedyOf(err error) string {
	for err != nil {
		e, ok := errors.AsType[*Error](err)
		if !ok {
			return ""
		}
		if e.Remedy != "" {
			return e.Remedy
		}
		err = e.Err
	}
	return ""
}
