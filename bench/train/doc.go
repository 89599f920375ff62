// Command train does training steps of the networks that PyTorch's step times are
// known for, and prints one JSON object a network: the counterpart of the peer's
// script, with the same networks, batches and optimizer.
package main
