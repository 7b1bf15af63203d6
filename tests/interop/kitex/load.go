package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"time"

	"elanus.test/kitexpeer/kitex_gen/interop"
	interopservice "elanus.test/kitexpeer/kitex_gen/interop/interop"
)

// maxErrorTexts bounds the tally; what comes after is counted under otherErrors.
const (
	maxErrorTexts = 50
	otherErrors   = "(further texts)"
)

// A client's own port differs from connection to connection and would make each error text its own.
var ownPort = regexp.MustCompile(`(127\.0\.0\.1|\[::1\]):\d+->`)

// tally counts what became of the calls.
type tally struct {
	mutex sync.Mutex
	ok    int64
	wrong int64
	fails int64
	texts map[string]int64
	kinds map[string]int64
	slow  time.Duration
}

func (t *tally) record(right bool, err error, elapsed time.Duration) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	t.slow = max(t.slow, elapsed)
	switch {
	case err != nil:
		t.fails++
		t.kinds[failureOf(err).Kind]++
		text := ownPort.ReplaceAllString(err.Error(), "$1:*->")
		if _, known := t.texts[text]; !known && len(t.texts) >= maxErrorTexts {
			text = otherErrors
		}
		t.texts[text]++
	case right:
		t.ok++
	default:
		t.wrong++
	}
}

func runLoad(arguments []string) error {
	flags := newFlags("load")
	var connecting connecting
	connecting.addTo(flags, "ttheader")
	concurrency := flags.Int("concurrency", 10, "workers; each makes one call after the other")
	length := flags.Float64("seconds", 10, "how long; a \"stop\" line, SIGTERM or the end of stdin ends it earlier")
	rate := flags.Float64("rate", 0, "calls a second of all workers together; 0 for as many as they can")
	payloadBytes := flags.Int("payload", 0, "bytes of payload beside the token")
	sleepMs := flags.Int("sleep-ms", 0, "call sleep with this time instead of echo, so that calls are in flight when a server stops")
	if err := parse(flags, arguments); err != nil {
		return err
	}
	options, err := connecting.options()
	if err != nil {
		return err
	}
	peer, err := interopservice.NewClient(connecting.destinationName, options...)
	if err != nil {
		return err
	}
	load := &load{
		peer: peer, payload: []byte(strings.Repeat("x", *payloadBytes)), sleepMs: int32(*sleepMs),
		tally: tally{texts: map[string]int64{}, kinds: map[string]int64{}},
	}
	load.run(*concurrency, *rate, time.Duration(*length*float64(time.Second)))
	return nil
}

type load struct {
	peer    interopservice.Client
	payload []byte
	sleepMs int32
	tally   tally
}

func (l *load) run(workers int, rate float64, length time.Duration) {
	ctx, cancel := context.WithTimeout(stopContext(), length)
	defer cancel()
	emit(map[string]any{"event": "ready", "pid": os.Getpid()})
	started := time.Now()
	var running sync.WaitGroup
	for worker := range workers {
		running.Add(1)
		go func() {
			defer running.Done()
			l.work(ctx, worker, workers, rate)
		}()
	}
	go l.reportSeconds(ctx)
	// Calls in flight at the end are waited for and counted: a load must not hide the ones that a stopping server broke.
	running.Wait()
	l.report(time.Since(started))
}

// work makes calls until ctx ends; the calls themselves run outside ctx, so that ending the load fails none of them.
func (l *load) work(ctx context.Context, worker, workers int, rate float64) {
	pause := newPace(worker, workers, rate)
	for number := 0; pause(ctx); number++ {
		token := fmt.Sprintf("%d-%d-%d", os.Getpid(), worker, number)
		started := time.Now()
		right, err := l.call(token)
		l.tally.record(right, err, time.Since(started))
	}
}

func (l *load) call(token string) (right bool, err error) {
	ctx := context.Background()
	if l.sleepMs > 0 {
		answered, err := l.peer.Sleep(ctx, l.sleepMs, token)
		return answered == token, err
	}
	reply, err := l.peer.Echo(ctx, &interop.Request{Message: token, Payload: l.payload})
	// A nil reply without an error is what Kitex makes of a result that is absent: wrong here.
	return reply != nil && reply.Message == token && len(reply.Payload) == len(l.payload), err
}

// newPace gives a function that waits for a worker's next turn and says whether there is one.
//
// Workers take turns at equal distances. One that is late starts at once and does not make up for lost turns: a burst
// after a stall would be a load that nobody asked for.
func newPace(worker, workers int, rate float64) func(context.Context) bool {
	if rate <= 0 {
		return func(ctx context.Context) bool { return ctx.Err() == nil }
	}
	interval := time.Duration(float64(workers) / rate * float64(time.Second))
	next := time.Now().Add(interval * time.Duration(worker) / time.Duration(workers))
	return func(ctx context.Context) bool {
		timer := time.NewTimer(time.Until(next))
		defer timer.Stop()
		select {
		case <-ctx.Done():
			return false
		case now := <-timer.C:
			next = next.Add(interval)
			if next.Before(now) {
				next = now
			}
			return true
		}
	}
}

func (l *load) reportSeconds(ctx context.Context) {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	var ok, fails, wrong int64
	for second := 1; ; second++ {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		l.tally.mutex.Lock()
		emit(map[string]any{
			"event": "second", "second": second,
			"ok": l.tally.ok - ok, "errors": l.tally.fails - fails, "wrong": l.tally.wrong - wrong,
		})
		ok, fails, wrong = l.tally.ok, l.tally.fails, l.tally.wrong
		l.tally.mutex.Unlock()
	}
}

func (l *load) report(elapsed time.Duration) {
	l.tally.mutex.Lock()
	defer l.tally.mutex.Unlock()
	emit(map[string]any{
		"event": "done", "seconds": elapsed.Seconds(),
		"ok": l.tally.ok, "errors": l.tally.fails, "wrong": l.tally.wrong,
		"error_texts": l.tally.texts, "error_kinds": l.tally.kinds,
		"max_us": l.tally.slow.Microseconds(),
	})
}

// stopContext ends with a signal, a "stop" line, or the end of stdin.
func stopContext() context.Context {
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	go func() {
		defer cancel()
		for line := range stdinLines() {
			if line == "stop" {
				return
			}
		}
	}()
	return ctx
}
