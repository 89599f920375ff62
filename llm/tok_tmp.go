package llm

type Tokenizer interface{ NewDecoder() decoding }
