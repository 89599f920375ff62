package reply

import (
	"errors"
	"net/http"
	"testing"

	"tandem/fault"
)

func TestEveryKindHasAStatus(t *testing.T) {
	for _, k := range fault.Kinds() {
		status := Status(k)
		if internal := k == fault.Internal || k == fault.Corrupt; (status == http.StatusInternalServerError) != internal {
			t.Errorf("%v has status %d", k, status)
		}
		if status < 400 || status > 599 {
			t.Errorf("%v has status %d", k, status)
		}
	}
}

func TestInternalCausesStayInside(t *testing.T) {
	cause := errors.New("open /data/secret")
	for _, tc := range []struct {
		err  error
		want string
	}{
		{cause, "internal error"},
		{fault.From(cause, "op"), "internal error"},
		{fault.Wrap(cause, "op", fault.Internal, "model %s failed", "m"), "model m failed"},
		{fault.Wrap(fault.Wrap(cause, "in", fault.Corrupt, "file %d", 1), "op", fault.Corrupt, "model m"), "model m: file 1"},
		{fault.New("op", fault.NotFound, "no model %q", "m"), `no model "m"`},
		{&HTTPError{Status: 405, Message: "no"}, "no"},
	} {
		if got, _ := Text(tc.err, "id"); got != tc.want {
			t.Errorf("Text(%v) = %q, want %q", tc.err, got, tc.want)
		}
	}
}
