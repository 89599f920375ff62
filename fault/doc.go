// Package fault is the one form of error that crosses package borders: the
// operation that failed, a closed kind, the message, what the user can do about
// it, and the cause.
//
// The kind is what programs act upon: each protocol maps it to its own wire form
// in one function, and the command line to an exit code. The message keeps its
// format and arguments apart, so that the command line can say it in the user's
// language.
package fault
