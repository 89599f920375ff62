package family

import (
	"context"
	"slices"

	"tandem/family/language"
	"tandem/family/tabular"
	"tandem/family/vision"
	"tandem/fault"
	"tandem/graph"
	"tandem/internal/setting"
	"tandem/train"
)

// Family is a kind of model.
type Family struct {
	Name  string
	Tasks []string // the first is the default
	// Starts tells that training can start from another model.
	Starts bool
	// Complete fills in the section model of a spec.
	Complete func(spec *train.Spec) error
	// Prepare reads the data and builds the network that the spec describes.
	Prepare func(ctx context.Context, spec train.Spec, ops *graph.Table) (*train.Problem, error)
}

// List is every family.
func List() []Family {
	return []Family{
		{Name: "vision", Tasks: []string{"classify"}, Starts: true, Complete: vision.Complete, Prepare: vision.Prepare},
		{Name: "language", Tasks: []string{language.Generate}, Starts: true, Complete: language.Complete, Prepare: language.Prepare},
		{Name: "tabular", Tasks: []string{tabular.Classify, tabular.Regress}, Starts: true, Complete: tabular.Complete, Prepare: tabular.Prepare},
	}
}

// Find is the family of a spec, and completes the spec: its task, if it has none, and
// its section model.
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
				Try(setting.Suggest(spec.Task, f.Tasks))
		}
		if spec.From.Model != "" && !f.Starts {
			return f, fault.New("family.find", fault.Unsupported, "family %s does not start from another model", f.Name).
				Try("leave out from.model")
		}
		return f, f.Complete(spec)
	}
	return Family{}, fault.New("family.find", fault.Invalid, "there is no family %q", spec.Family).
		Try(setting.Suggest(spec.Family, names))
}
