package family

import (
	"context"
	"slices"
	"strings"

	"tandem/family/vision"
	"tandem/fault"
	"tandem/graph"
	"tandem/train"
)

// Family is a kind of model.
type Family struct {
	Name  string
	Tasks []string // the first is the default
	// Prepare reads the data and builds the network that the spec describes.
	Prepare func(ctx context.Context, spec train.Spec, ops *graph.Table) (*train.Problem, error)
	// Explain describes the section model of a spec, with its defaults, as YAML.
	Explain func() string
}

// List is every family.
func List() []Family {
	return []Family{
		{Name: "vision", Tasks: []string{"classify"}, Prepare: vision.Prepare, Explain: vision.Explain},
	}
}

// Find is the family of a spec, whose task it fills in if it has none.
func Find(spec *train.Spec) (Family, error) {
	var names []string
	for _, f := range List() {
		names = append(names, f.Name)
		if f.Name != spec.Family {
			continue
		}
		if spec.Task == "" {
			spec.Task = f.Tasks[0]
		}
		if !slices.Contains(f.Tasks, spec.Task) {
			return f, fault.New("family.find", fault.Invalid, "family %s has no task %q", f.Name, spec.Task).
				Try("use one of: " + strings.Join(f.Tasks, ", "))
		}
		return f, nil
	}
	return Family{}, fault.New("family.find", fault.Invalid, "there is no family %q", spec.Family).
		Try("use one of: " + strings.Join(names, ", "))
}
