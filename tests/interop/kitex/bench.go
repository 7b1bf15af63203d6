package main

import (
	"context"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"elanus.test/kitexpeer/kitex_gen/bench"
	benchservice "elanus.test/kitexpeer/kitex_gen/bench/bench"
	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/pkg/rpcinfo"
	"github.com/cloudwego/kitex/pkg/transmeta"
	"github.com/cloudwego/kitex/server"
)

const benchServiceName = "elanus.bench"

type benchHandler struct{}

func (h *benchHandler) Echo(_ context.Context, request *bench.Request) (*bench.Response, error) {
	return &bench.Response{Message: request.Message}, nil
}

func runBenchServer(arguments []string) error {
	var listening listening
	flags := newFlags("bench-server")
	listening.addTo(flags)
	metadata := flags.Bool("metadata", false, "install ServerTTHeaderHandler")
	if err := parse(flags, arguments); err != nil {
		return err
	}
	options := append(listening.options(),
		server.WithServerBasicInfo(&rpcinfo.EndpointBasicInfo{ServiceName: benchServiceName}))
	if *metadata {
		options = append(options, server.WithMetaHandler(transmeta.ServerTTHeaderHandler))
	}
	return serve(&listening, options, func(svr server.Server) error {
		return benchservice.RegisterService(svr, &benchHandler{})
	})
}

func runBenchClient(arguments []string) error {
	flags := newFlags("bench-client")
	address := flags.String("address", "", "where the server is")
	transport := flags.String("transport", "ttheader", framings)
	muxConnections := flags.Int("mux-connections", 1, "connections of --transport mux")
	concurrency := flags.Int("concurrency", 1, "calls in flight")
	payload := flags.Int("payload", 1024, "bytes of the echoed message")
	warmup := flags.Float64("warmup", 1, "seconds before the measured window")
	length := flags.Float64("seconds", 5, "seconds of the measured window")
	timeoutMs := flags.Int("timeout-ms", 0, "RPC timeout; 0 sets none")
	metadata := flags.Bool("metadata", false, "install ClientTTHeaderHandler: names, message type and timeout are in the header")
	if err := parse(flags, arguments); err != nil {
		return err
	}
	targets, err := addresses(*address)
	if err != nil {
		return err
	}
	options, err := framingOptions(*transport, *muxConnections)
	if err != nil {
		return err
	}
	options = append(options,
		client.WithHostPorts(targets...),
		client.WithConnectTimeout(2*time.Second),
		client.WithClientBasicInfo(&rpcinfo.EndpointBasicInfo{ServiceName: benchServiceName + ".client"}))
	if *transport != "mux" {
		options = append(options, longPool(*concurrency))
	}
	if *metadata {
		options = append(options, client.WithMetaHandler(transmeta.ClientTTHeaderHandler))
	}
	if *timeoutMs > 0 {
		options = append(options, client.WithRPCTimeout(time.Duration(*timeoutMs)*time.Millisecond))
	}
	peer, err := benchservice.NewClient(benchServiceName, options...)
	if err != nil {
		return err
	}
	run := &benchRun{peer: peer, message: strings.Repeat("x", *payload)}
	run.measure(*concurrency, *warmup, *length)
	return nil
}

// benchRun is one measurement; the counts are those of the window only.
type benchRun struct {
	peer    benchservice.Client
	message string

	measuring atomic.Bool
	stopping  atomic.Bool
	decoded   atomic.Int64
	wrong     atomic.Int64
	failed    atomic.Int64
	lastError atomic.Value
	latencies histogram
}

// measure prints {"event": "measuring"} as the window opens, so that a harness can ask the server for its CPU time
// then, and {"event": "result"} at its end.
func (b *benchRun) measure(concurrency int, warmup, length float64) {
	var running sync.WaitGroup
	for range concurrency {
		running.Add(1)
		go func() {
			defer running.Done()
			b.work()
		}()
	}
	time.Sleep(time.Duration(warmup * float64(time.Second)))
	emit(map[string]any{"event": "measuring", "pid": os.Getpid()})
	before, started := usageNow(), time.Now()
	b.measuring.Store(true)
	time.Sleep(time.Duration(length * float64(time.Second)))
	b.measuring.Store(false)
	elapsed, after := time.Since(started), usageNow()
	b.report(elapsed, before, after)
	b.stopping.Store(true)
	running.Wait()
}

// work counts the calls that began and ended within the window.
func (b *benchRun) work() {
	ctx := context.Background()
	request := &bench.Request{Message: b.message}
	for !b.stopping.Load() {
		counted := b.measuring.Load()
		started := time.Now()
		reply, err := b.peer.Echo(ctx, request)
		elapsed := time.Since(started)
		if err != nil {
			// Also outside the window: a benchmark whose warm-up fails must say so.
			b.failed.Add(1)
			b.lastError.Store(err.Error())
			continue
		}
		if !counted || !b.measuring.Load() {
			continue
		}
		b.latencies.add(elapsed)
		// Comparing the whole message shows that the reply was decoded, and is cheap.
		if reply != nil && reply.Message == b.message {
			b.decoded.Add(1)
		} else {
			b.wrong.Add(1)
		}
	}
}

func (b *benchRun) report(elapsed time.Duration, before, after processUsage) {
	calls := b.latencies.total.Load()
	cpu := after.CPUSeconds - before.CPUSeconds
	result := map[string]any{
		"event":            "result",
		"calls":            calls,
		"seconds":          elapsed.Seconds(),
		"calls_per_second": float64(calls) / elapsed.Seconds(),
		"p50_us":           microseconds(b.latencies.percentile(0.5)),
		"p99_us":           microseconds(b.latencies.percentile(0.99)),
		"mean_us":          microseconds(b.latencies.mean()),
		"cpu_seconds":      cpu,
		"cpu_us_per_call":  cpu * 1e6 / float64(max(calls, 1)),
		"decoded_replies":  b.decoded.Load(),
		"wrong_replies":    b.wrong.Load(),
		"errors":           b.failed.Load(),
		"last_error":       b.lastError.Load(),
		"max_rss_bytes":    after.MaxRSSBytes,
		"gomaxprocs":       runtime.GOMAXPROCS(0),
	}
	emit(result)
}

func microseconds(value time.Duration) float64 {
	return float64(value.Nanoseconds()) / 1e3
}
