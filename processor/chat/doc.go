// Package chat writes a conversation as the text that a model was trained on, by the
// template that comes with the model.
//
// Templates are programs in Jinja; package jinja below runs them, within limits. What
// a template is given is what transformers gives it: messages, tools, documents,
// add_generation_prompt, the names of special tokens, and arguments of its own such
// as enable_thinking.
package chat
