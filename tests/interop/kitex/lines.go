package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"sync"
)

// maxLineBytes bounds one JSON line on stdin; payloads of some MiB in base64 must fit.
const maxLineBytes = 64 << 20

var stdout struct {
	sync.Mutex
	encoder *json.Encoder
}

// emit writes one event as one line on stdout.
func emit(event map[string]any) {
	if err := tryEmit(event); err != nil {
		fmt.Fprintf(os.Stderr, "kitexpeer: writing the event %v: %v\n", event["event"], err)
	}
}

// tryEmit writes one JSON object as one line on stdout; safe for concurrent use, so that lines never mix.
// It writes nothing and fails when the object holds what JSON does not know, such as a NaN.
func tryEmit(object any) error {
	stdout.Lock()
	defer stdout.Unlock()
	if stdout.encoder == nil {
		stdout.encoder = json.NewEncoder(os.Stdout)
		stdout.encoder.SetEscapeHTML(false)
	}
	return stdout.encoder.Encode(object)
}

// stdinLines gives the lines of stdin, without blank ones, and closes the channel at its end.
func stdinLines() <-chan string {
	lines := make(chan string)
	go func() {
		defer close(lines)
		scanner := bufio.NewScanner(os.Stdin)
		scanner.Buffer(make([]byte, 64<<10), maxLineBytes)
		for scanner.Scan() {
			if line := strings.TrimSpace(scanner.Text()); line != "" {
				lines <- line
			}
		}
		if err := scanner.Err(); err != nil {
			fmt.Fprintf(os.Stderr, "kitexpeer: reading stdin: %v\n", err)
		}
	}()
	return lines
}
