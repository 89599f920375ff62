// Package oip speaks the Open Inference Protocol over REST, which KServe calls V2:
// metadata and readiness of server and models, and inference with tensors as JSON or
// in the binary extension.
//
// A request is read in one pass over its bytes, without a tree of JSON values between
// them and the tensor: scan.go has the tokens, number.go the numbers, data.go a
// tensor's elements, request.go the fields. fields.go is the one table of what becomes
// of each field: honoured, accepted because it cannot change the answer, or refused.
//
// What JSON cannot carry is decided as follows. FP16 and BF16 travel only in binary
// form. A NaN in an output is null, which numpy reads back as NaN; an infinity is
// refused, because null would change its value: ask for binary_data. Strings that are
// not UTF-8 need the binary form too.
package oip
