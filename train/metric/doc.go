// Package metric measures predictions over whole sets, batch by batch. Its numbers are
// those of scikit-learn: testdata/sklearn.json has what it computes, written by
// testdata/record.py.
//
//	metric.go   Kind, and the names of what each measures
//	classes.go  Classes: one label of several for each example
//	auc.go      areas under ROC curves
//	values.go   Values: numbers
package metric
