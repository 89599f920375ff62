// Package tabular trains networks on rows of typed columns. Its tasks are classify,
// one value of a category for each row, and regress, a number for each.
package tabular
