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

// emit writes one JSON object as one line on stdout; safe for concurrent use, so that lines never mix.
func emit(object any) {
	stdout.Lock()
	defer stdout.Unlock()
	if stdout.encoder == nil {
		stdout.encoder = json.NewEncoder(os.Stdout)
		stdout.encoder.SetEscapeHTML(false)
	}
	if err := stdout.encoder.Encode(object); err != nil {
		// A value JSON cannot hold (NaN) must not look like an answer that never came.
		fmt.Fprintf(os.Stderr, "kitexpeer: cannot write %T as JSON: %v\n", object, err)
		_ = stdout.encoder.Encode(map[string]any{"event": "unwritable", "text": err.Error()})
	}
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
