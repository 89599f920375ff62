package model

import "tandem/processor"

// Intake is what a program has to know of a model to make tensors of rows, pictures and
// texts, and to name its answers, and no more: who may run a model may know it. What
// training learned of the data — values of categories, means — is no part of it, but for the
// names of classes, which answers have.
type Intake struct {
	Kind   string            `json:"kind"` // of the first stage
	Labels []string          `json:"labels,omitempty"`
	Image  *processor.Image  `json:"image,omitempty"`
	Rows   *processor.Schema `json:"rows,omitempty"`
}

// IntakeOf reads what it is from an artifact.
func IntakeOf(m *Manifest, src Source) (*Intake, error) {
	in := &Intake{Labels: m.Labels}
	if len(m.Stages) > 0 {
		in.Kind = m.Stages[0].Kind
	}
	rows, err := RowsOf(m, src)
	if err != nil {
		return nil, err
	}
	if rows != nil {
		in.Rows = rows.Schema()
	}
	in.Image, err = ImageOf(m, src)
	return in, err
}
