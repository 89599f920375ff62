// Package processor turns what people and programs send into the tensors that a
// network takes. A processor is data: it's trained with, stored as JSON inside the
// artifact, and served from there, so that training and serving can't differ.
package processor
