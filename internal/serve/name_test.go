package serve

import (
	"context"
	"testing"
	"time"

	"tandem/fault"
	"tandem/model"
)

// TestHeldDeploymentRunsRequests: whoever holds a deployment takes no worker's place.
func TestHeldDeploymentRunsRequests(t *testing.T) {
	e, _ := start(t, Config{RequestTimeout: 30 * time.Second}, doubler())
	q := e.slots[place{"acme", "m"}].serving.queue
	if !q.hold() {
		t.Fatal("it cannot be held")
	}
	if _, err := infer(e, t.Context(), pairs(1, 2)); err != nil {
		t.Error(err)
	}
	if err := e.Undeploy(Target{"acme", "m", 1}); err != nil {
		t.Fatal(err)
	}
	select {
	case <-q.idle:
		t.Error("it is closed while it is held")
	default:
	}
	q.letGo()
	<-q.idle
}

// TestGivenUpLoadLeavesTheName: that a version cannot be loaded is still the answer when
// another has not come to serve either.
func TestGivenUpLoadLeavesTheName(t *testing.T) {
	e, err := New(Config{Load: func(_ context.Context, m *model.Manifest, _ func(model.File) (string, error)) (Runner, error) {
		return nil, fault.New("test.load", fault.Corrupt, "%d bytes are damaged", m.Files[0].Bytes)
	}})
	if err != nil {
		t.Fatal(err)
	}
	wantFault(t, e.Restore([]Artifact{artifact(1, 11)})(t.Context()), fault.Corrupt, "11 bytes are damaged")
	_, err = e.Prepare(t.Context(), artifact(2, 22))
	wantFault(t, err, fault.Corrupt, "22 bytes are damaged")
	_, err = infer(e, t.Context(), pairs(1, 2))
	wantFault(t, err, fault.Unavailable, "11 bytes are damaged")
	if all := e.Statuses(); len(all) != 1 || all[0].Version != 1 || all[0].State != StateFailed {
		t.Errorf("%+v", all)
	}
}
