package metric

import (
	"math"
	"slices"
)

// Kind is what a network predicts, which decides what can be measured.
type Kind uint8

const (
	None    Kind = iota // the loss alone
	Labels              // probabilities [n,classes] for labels int64 [n]
	Numbers             // float32 [n] or [n,k] for targets of the same shape
	Tokens              // probabilities for labels at every step: the mean loss says it all
)

// Loss is the name of what every run measures.
const Loss = "loss"

// Names of what a kind measures on a set, Loss among them. Of these, a set may leave
// some undefined: areas under curves where a class has no example.
func (k Kind) Names(classes int) []string {
	names := []string{Loss}
	switch k {
	case Labels:
		names = append(names, "accuracy", "top_k_accuracy", "log_loss", "auc", "precision_macro", "recall_macro", "f1_macro",
			"precision_micro", "recall_micro", "f1_micro")
		if classes == 2 {
			names = append(names, "precision", "recall", "f1")
		}
	case Numbers:
		names = append(names, "rmse", "mae", "r2", "mape")
	case Tokens:
		names = append(names, "accuracy", "perplexity", "bits_per_character")
	}
	return names
}

// HigherIsBetter tells which way a metric improves.
func HigherIsBetter(name string) bool {
	return !slices.Contains([]string{Loss, "log_loss", "rmse", "mae", "mape", "perplexity", "bits_per_character"}, name)
}

// OfTokens are the metrics of a mean loss in nats a token.
func OfTokens(loss float64) map[string]float64 {
	return map[string]float64{"perplexity": math.Exp(loss), "bits_per_character": loss / math.Ln2}
}
