package llm

type Tokenizer interface {
	NewDecoder() decoding
	Encode(text string, special bool) []int
	Bytes(id int) []byte
}
