package oip

import (
	"bufio"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"

	"tandem/fault"
	"tandem/internal/api/reply"
)

// firstRead is how much room a body gets before any of it has come: a length that a
// client announces costs the server nothing.
const firstRead = 64 << 10

// readBody reads the whole body into buf's room, expanded, and refuses more than limit
// bytes. The gateway bounds what comes over the wire; this bounds what it expands to.
func readBody(r *http.Request, buf []byte, limit int64) ([]byte, error) {
	body, expanded, err := decoded(r)
	if err != nil {
		return nil, err
	}
	buf = buf[:0]
	if !expanded && r.ContentLength > int64(cap(buf)) {
		buf = make([]byte, 0, min(r.ContentLength+1, firstRead))
	}
	for {
		if len(buf) == cap(buf) {
			buf = append(buf, 0)[:len(buf)]
		}
		n, err := body.Read(buf[len(buf):min(cap(buf), len(buf)+1<<20)])
		buf = buf[:len(buf)+n]
		if k, ok := r.Body.(keeper); ok && expanded {
			if err := k.Keep(n); err != nil {
				return nil, err
			}
		}
		if int64(len(buf)) > limit {
			return nil, fault.New("oip.body", fault.TooLarge, "the body expands to more than the limit of %d bytes", limit).
				Try("send fewer rows in one request")
		}
		switch {
		case errors.Is(err, io.EOF):
			return buf, nil
		case err != nil && expanded && !isFault(err):
			return nil, invalid("the body is not valid %s: %v", r.Header.Get("Content-Encoding"), err)
		case err != nil:
			return nil, fault.From(err, "oip.body")
		}
	}
}

// keeper is a body of the gateway's, which counts what requests hold in memory.
type keeper interface{ Keep(n int) error }

func isFault(err error) bool {
	_, ok := errors.AsType[*fault.Error](err)
	return ok
}

// decoded undoes the Content-Encoding.
func decoded(r *http.Request) (body io.Reader, expanded bool, err error) {
	switch encoding := strings.ToLower(r.Header.Get("Content-Encoding")); encoding {
	case "", "identity":
		return r.Body, false, nil
	case "gzip":
		body, err = gzip.NewReader(r.Body)
	case "deflate":
		body, err = inflate(r.Body)
	default:
		return nil, false, &reply.HTTPError{Status: http.StatusUnsupportedMediaType,
			Message: "Content-Encoding " + strconv.Quote(encoding) + " is not supported: send gzip, deflate or identity"}
	}
	if err != nil && !isFault(err) {
		err = invalid("the body is not valid %s: %v", r.Header.Get("Content-Encoding"), err)
	}
	return body, true, err
}

// inflate reads zlib, which is what "deflate" means, or the bare deflate stream that
// some clients send.
func inflate(r io.Reader) (io.Reader, error) {
	b := bufio.NewReader(r)
	head, err := b.Peek(2)
	if err != nil {
		return nil, err
	}
	if head[0]&0x0f == 8 && (int(head[0])<<8|int(head[1]))%31 == 0 {
		return zlib.NewReader(b)
	}
	return flate.NewReader(b), nil
}

// checkMediaType lets in what clients really send: JSON, the binary extension, no type
// at all (tritonclient), and what curl -d says when it is told nothing.
func checkMediaType(r *http.Request) error {
	value := r.Header.Get("Content-Type")
	switch value {
	case "", "application/json", "application/octet-stream":
		return nil
	}
	media, _, err := mime.ParseMediaType(value)
	if err == nil {
		switch {
		case media == "application/json", media == "application/octet-stream", media == "application/x-www-form-urlencoded",
			strings.HasPrefix(media, "application/") && strings.HasSuffix(media, "+json"):
			return nil
		}
	}
	return &reply.HTTPError{Status: http.StatusUnsupportedMediaType,
		Message: "Content-Type " + strconv.Quote(value) + " is not supported: send application/json, or application/octet-stream with binary data"}
}

// headerBytes splits a body: JSON first, then binary data.
func headerBytes(r *http.Request, body []byte) (int, error) {
	value := r.Header.Get(headerLength)
	if value == "" {
		return len(body), nil
	}
	n, err := strconv.Atoi(value)
	if err != nil || n < 0 || n > len(body) {
		return 0, invalid("%s is %.40q: expected the length of the JSON, at most the %d bytes of the body", headerLength, value, len(body))
	}
	return n, nil
}
