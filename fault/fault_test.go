package fault

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"testing"
)

func TestKindOf(t *testing.T) {
	missing := func() error { _, err := os.Open("/no/such/file"); return err }()
	for _, tc := range []struct {
		err  error
		want Kind
	}{
		{New("a.b", TooLarge, "x"), TooLarge},
		{fmt.Errorf("outer: %w", New("a.b", Corrupt, "x")), Corrupt},
		{Wrap(New("in", NotFound, "x"), "out", Invalid, "y"), Invalid},
		{context.DeadlineExceeded, Deadline},
		{missing, NotFound},
		{&os.PathError{Op: "write", Path: "f", Err: syscall.ENOSPC}, NoSpace},
		{From(context.Canceled, "op"), Canceled},
		{errors.New("other"), Internal},
	} {
		if got := KindOf(tc.err); got != tc.want {
			t.Errorf("KindOf(%v) = %v, want %v", tc.err, got, tc.want)
		}
	}
	if From(nil, "op") != nil {
		t.Error("From(nil) is not nil")
	}
}

func TestTextShowsOperationOnceAndRemedyLast(t *testing.T) {
	inner := New("data.read", Invalid, "label %d is out of range", 11).Try("use labels 0 to 9")
	outer := Wrap(inner, "train.run", Invalid, "epoch %d", 2)
	if got, want := outer.Error(), "train.run: epoch 2: label 11 is out of range"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	several := errors.Join(outer, fmt.Errorf("closing: %w", New("data.close", Internal, "it is open")), os.ErrClosed)
	if got, want := From(several, "train.end").Error(), "train.end: epoch 2: label 11 is out of range\nclosing: it is open\nfile already closed"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := RemedyOf(fmt.Errorf("x: %w", outer)); got != "use labels 0 to 9" {
		t.Errorf("RemedyOf = %q", got)
	}
}

func TestEveryKindHasAName(t *testing.T) {
	seen := map[string]bool{}
	for _, k := range Kinds() {
		if name := k.String(); name == "" || seen[name] {
			t.Errorf("kind %d: name %q is empty or taken", k, name)
		} else {
			seen[name] = true
		}
	}
	if len(seen) != int(Unsupported)+1 {
		t.Errorf("%d names for %d kinds", len(seen), Unsupported+1)
	}
}
