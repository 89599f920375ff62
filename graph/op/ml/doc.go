// Package ml holds the operators of ai.onnx.ml: models as scikit-learn, LightGBM and
// others have trained them, and what prepares their inputs. They compute in float64; where
// the specification leaves a case open they do as ONNX Runtime does.
//
//	ml.go              Ops; rows of features, read as float64
//	tree.go            ensembles of trees
//	tree_forms.go      their attributes, in the old form and the new
//	tree_index.go      … where the nodes of the older one are, by name
//	tree_run.go        rows side by side, and what their leaves add up to
//	tree_walk.go       the packed form in which rows of float32 are walked
//	linear.go, svm.go, svm_classifier.go
//	classifier.go      from the scores of a row to its label
//	scores.go          what is done to scores: logistic, softmax, probit
//	features.go        scalers, imputers, encoders of one input
//	labels.go          tables from labels to numbers and back
//	maps.go            ZipMap and what reads maps
//	expand.go          the smooth ones as nodes that have gradients
package ml
