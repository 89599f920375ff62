package main

import (
	"strconv"
	"strings"

	"tandem/fault"
	"tandem/internal/client"
)

// defaultURL is where tandem serve listens when it is told nothing.
const defaultURL = "http://127.0.0.1:8080"

// remote says which server verbs talk to.
type remote struct {
	Server string `help:"URL of the server. Without it: the server that was last started by this user." placeholder:"URL" env:"TANDEM_SERVER"`
	Key    string `help:"Key to use. Without it: the one that the server's first start left for this user." placeholder:"KEY" env:"TANDEM_KEY"`
}

// client is for the server that the command line means.
func (a *app) client() (*client.Client, error) {
	url, key := strings.TrimRight(a.remote.Server, "/"), a.remote.Key
	if url == "" || key == "" {
		saved, err := openCredentials(a.getenv)
		switch {
		case fault.KindOf(err) == fault.NotFound:
			saved = &credentials{}
		case err != nil:
			return nil, err
		}
		if url == "" && len(saved.Servers) > 0 {
			url = saved.Servers[0].URL
		}
		if url == "" {
			url = defaultURL
		}
		if key == "" {
			key = saved.keyFor(url)
		}
	}
	return client.New(client.Config{URL: url, Key: key})
}

// modelRef is NAME or NAME:VERSION; version 0 is the newest, or the one that serves.
type modelRef struct {
	name    string
	version int
}

func parseRef(text string) (modelRef, error) {
	name, number, found := strings.Cut(text, ":")
	if !found && name != "" {
		return modelRef{name: name}, nil
	}
	n, err := strconv.Atoi(number)
	if name == "" || err != nil || n < 1 {
		return modelRef{}, usage("%q is not the name of a model with a version", text).with("write NAME or NAME:VERSION, such as mnist:2")
	}
	return modelRef{name, n}, nil
}
