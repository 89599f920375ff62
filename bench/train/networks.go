package main

import (
	"tandem/graph"
	"tandem/nn"
	"tandem/tensor"
)

// network is one of the table: what it takes, how many of its steps make a round,
// and its layers, which end in class probabilities.
type network struct {
	name    string
	input   graph.Type
	batch   int
	classes int
	tokens  int // steps of a sequence that each have a label; 0: one label a row
	steps   int
	layers  nn.Sequential
}

func networks() []network {
	images := func(c, size int) graph.Type {
		return graph.Type{DType: tensor.Float32, Shape: graph.Shape{graph.Sym("batch"), graph.Const(c), graph.Const(size), graph.Const(size)}}
	}
	ids := func(steps int) graph.Type {
		return graph.Type{DType: tensor.Int64, Shape: graph.Shape{graph.Sym("batch"), graph.Const(steps)}}
	}
	return []network{
		{"mlp", graph.Type{DType: tensor.Float32, Shape: graph.Shape{graph.Sym("batch"), graph.Const(784)}}, 128, 10, 0, 40, mlp()},
		{"cnn", images(1, 28), 64, 10, 0, 6, cnn()},
		{"resnet18", images(3, 32), 64, 10, 0, 1, resnet18()},
		{"lstm", ids(64), 32, 96, 64, 6, characters(nn.LSTM)},
		{"gru", ids(64), 32, 96, 64, 6, characters(nn.GRU)},
		{"transformer", ids(128), 16, 1000, 128, 2, transformer()},
	}
}

func mlp() nn.Sequential {
	return nn.Sequential{nn.Dense{Units: 512, Activation: nn.ReLU}, nn.Dense{Units: 512, Activation: nn.ReLU}, nn.Dense{Units: 10}, nn.Softmax}
}

func cnn() nn.Sequential {
	return nn.Sequential{
		nn.Conv2D{Filters: 32, Kernel: 3, Same: true, Activation: nn.ReLU}, nn.Conv2D{Filters: 64, Kernel: 3, Same: true, Activation: nn.ReLU},
		nn.MaxPool2D{Size: 2}, nn.Flatten{}, nn.Dense{Units: 128, Activation: nn.ReLU}, nn.Dense{Units: 10}, nn.Softmax,
	}
}

// resnet18 is He et al.'s network with a 3×3 stem, for images of 32×32.
func resnet18() nn.Sequential {
	return nn.Sequential{nn.ResNet{Depth: 18}, nn.Dense{Units: 10}, nn.Softmax}
}

func characters(cell nn.Cell) nn.Sequential {
	return nn.Sequential{nn.Embedding{Count: 96, Size: 64}, nn.Recurrent{Cell: cell, Units: 256}, nn.Dense{Units: 96}, nn.Softmax}
}

// transformer: pre-norm causal blocks of width 256, four heads, feed-forward 1024.
func transformer() nn.Sequential {
	return nn.Sequential{
		nn.Embedding{Count: 1000, Size: 256}, nn.Transformer{Blocks: 4, Heads: 4, Causal: true}, nn.Dense{Units: 1000}, nn.Softmax,
	}
}
