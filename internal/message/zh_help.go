package message
func entries() []entry { return nil }
