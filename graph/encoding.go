package graph

import (
	"strings"

	blocks "tandem/tensor/block"
)

// Encoding tells how a constant's bytes hold its elements. What a constant means
// depends on its type and shape; only kernels look at the encoding.
//
// Matrices of float32 may be held in the blocks of tensor/block, in four ways.
// Rows is how a table lies in a file, each row of the matrix in blocks. Columns is
// the same for a matrix [inputs, outputs] that is the right operand of a product:
// the file has it as [outputs, inputs], so that blocks run along its columns.
// Panels are such columns packed for the kernels; row panels are the same bytes where
// the matrix is the table [outputs, inputs].
type Encoding string

const (
	Dense Encoding = "" // row-major little-endian elements
	// PanelB is the packed right-hand matrix of kernel.PackB for this processor.
	PanelB Encoding = "panel-b"
	// PanelBytes is a matrix of bytes as kernel.PackBytes packs it for this processor.
	PanelBytes Encoding = "panel-bytes"
	// PanelBFloat16 is a matrix of bfloat16 as kernel.PackBFloat16 packs it for this processor.
	PanelBFloat16 Encoding = "panel-bfloat16"
	// PanelCodes is a matrix of float32 in codes of few bits, as kernel.PackCodes packs them
	// for this processor. The node that reads it knows their bits and blocks.
	PanelCodes Encoding = "panel-codes"
	// PanelConv are weights as kernel.PackConvLast packs them for this processor.
	PanelConv Encoding = "panel-conv"
	// PanelWinograd2 and 4 are weights as kernel.PackWinograd transforms them for tiles of
	// that side, for this processor.
	PanelWinograd2 Encoding = "panel-winograd2"
	PanelWinograd4 Encoding = "panel-winograd4"
	// Zeros has no bytes: all elements are zero. For state.
	Zeros Encoding = "zeros"
)

const columnsSuffix, panelsSuffix, rowPanelsSuffix = ".columns", ".panels", ".row-panels"

// Rows is the encoding of a matrix whose rows are blocks of f one after another.
func Rows(f blocks.Format) Encoding { return Encoding(f.String()) }

// Columns is the encoding of a matrix whose columns are blocks of f.
func Columns(f blocks.Format) Encoding { return Encoding(f.String() + columnsSuffix) }

// Panels is the encoding of a matrix whose columns kernel.PackRows has packed.
func Panels(f blocks.Format) Encoding { return Encoding(f.String() + panelsSuffix) }

// RowPanels is the encoding of a matrix whose rows kernel.PackRows has packed.
func RowPanels(f blocks.Format) Encoding { return Encoding(f.String() + rowPanelsSuffix) }

// InRows is the format of rows in blocks; false for other encodings.
func (e Encoding) InRows() (blocks.Format, bool) { return e.format("") }

// InColumns is the format of columns in blocks; false for other encodings.
func (e Encoding) InColumns() (blocks.Format, bool) { return e.format(columnsSuffix) }

// InPanels is the format of packed columns; false for other encodings.
func (e Encoding) InPanels() (blocks.Format, bool) { return e.format(panelsSuffix) }

// InRowPanels is the format of packed rows; false for other encodings.
func (e Encoding) InRowPanels() (blocks.Format, bool) { return e.format(rowPanelsSuffix) }

func (e Encoding) format(suffix string) (blocks.Format, bool) {
	name, ok := strings.CutSuffix(string(e), suffix)
	if !ok || e == Dense {
		return 0, false
	}
	f, err := blocks.Parse(name)
	return f, err == nil
}
