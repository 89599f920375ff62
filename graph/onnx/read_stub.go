package onnx

import "tandem/graph"

func Read(data []byte, opt LoadOptions) (*graph.Graph, error) { panic("todo") }

type SaveOptions struct {
	ExternalData    string
	Producer        string
	ProducerVersion string
}

func Save(path string, g *graph.Graph, opt SaveOptions) error { panic("todo") }
