package main

import (
	"context"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	interopservice "elanus.test/kitexpeer/kitex_gen/interop/interop"
	otherservice "elanus.test/kitexpeer/kitex_gen/interop/other"
	"github.com/cloudwego/kitex/pkg/endpoint"
	"github.com/cloudwego/kitex/pkg/rpcinfo"
	"github.com/cloudwego/kitex/pkg/transmeta"
	"github.com/cloudwego/kitex/server"
)

const (
	defaultServiceName = "elanus.interop"
	defaultCallerName  = "elanus.interop.client"
)

// listening are the flags that every server here has.
type listening struct {
	listen      string
	mux         bool
	exitWaitMs  int
	followStdin bool
}

func (l *listening) addTo(flags *flag.FlagSet) {
	flags.StringVar(&l.listen, "listen", "127.0.0.1:0", "loopback address, or unix:/path; port 0 takes a free one")
	flags.BoolVar(&l.mux, "mux", false, "multiplexed TTHeader only (WithMuxTransport)")
	flags.IntVar(&l.exitWaitMs, "exit-wait-ms", 5000, "how long a graceful stop waits for calls (WithExitWaitTime)")
	flags.BoolVar(&l.followStdin, "follow-stdin", false, "stop when stdin ends, so that no server outlives its test")
}

func (l *listening) options() []server.Option {
	options := []server.Option{server.WithExitWaitTime(time.Duration(l.exitWaitMs) * time.Millisecond)}
	if l.mux {
		options = append(options, server.WithMuxTransport())
	}
	return options
}

func runServer(arguments []string) error {
	var listening listening
	var announcing announcing
	flags := newFlags("server")
	listening.addTo(flags)
	announcing.addTo(flags)
	var governing governing
	governing.addTo(flags)
	noMetaHandlers := flags.Bool("no-meta-handlers", false, "leave ServerTTHeaderHandler out")
	crc32c := flags.Bool("crc32c", false, "write payload checksums, verify those that come")
	contextTimeout := flags.Bool("context-timeout", false, "the caller's timeout ends the handler's context (WithEnableContextTimeout)")
	name := flags.String("name", defaultServiceName, "service name (WithServerBasicInfo)")
	secondService := flags.Bool("second-service", false, "register Other too; Interop becomes the fallback service")
	refuse := flags.Bool("refuse-without-service", false, "WithRefuseTrafficWithoutServiceName")
	if err := parse(flags, arguments); err != nil {
		return err
	}

	announced, err := announcing.options()
	if err != nil {
		return err
	}
	options := append(listening.options(), announced...)
	options = append(options, governing.options()...)
	options = append(options,
		server.WithServerBasicInfo(&rpcinfo.EndpointBasicInfo{ServiceName: *name}),
		server.WithMetaHandler(seenByServer()),
		server.WithEnableContextTimeout(*contextTimeout))
	if !*noMetaHandlers {
		options = append(options, server.WithMetaHandler(transmeta.ServerTTHeaderHandler))
	}
	if *crc32c {
		options = append(options, server.WithCodec(checksumCodec()))
	}
	if *refuse {
		options = append(options, server.WithRefuseTrafficWithoutServiceName())
	}
	return serve(&listening, options, func(svr server.Server) error {
		return registerInterop(svr, *name, *secondService)
	})
}

func registerInterop(svr server.Server, name string, second bool) error {
	handler := &interopHandler{onward: &onwardClients{name: name}}
	if !second {
		return interopservice.RegisterService(svr, handler)
	}
	// Both services have who(): Kitex refuses to run such a pair unless one takes calls that name no service.
	if err := interopservice.RegisterService(svr, handler, server.WithFallbackService()); err != nil {
		return err
	}
	return otherservice.RegisterService(svr, &otherHandler{})
}

// serve runs a Kitex server until a signal, a "stop" line, or the end of a followed stdin.
//
// It prints {"event": "ready"} once calls are taken and {"event": "stopped"} after Kitex's graceful shutdown.
func serve(listening *listening, options []server.Option, register func(server.Server) error) error {
	network, address, err := localAddress(listening.listen)
	if err != nil {
		return err
	}
	listener, err := net.Listen(network, address)
	if err != nil {
		return err
	}
	var handled atomic.Int64
	exit := exitSignal()
	svr := server.NewServer(append(options,
		server.WithListener(listener),
		server.WithExitSignal(func() <-chan error { return exit }),
		server.WithMiddleware(countInto(&handled)))...)
	if err = register(svr); err != nil {
		return err
	}
	bound := boundAddress(listener)
	server.RegisterStartHook(func() {
		emit(map[string]any{"event": "ready", "address": bound, "pid": os.Getpid()})
	})
	go obey(listening.followStdin, &handled, exit)
	err = svr.Run()
	emit(statsEvent("stopped", &handled))
	return err
}

// boundAddress is taken before Kitex owns the listener, and given in the form that every client here accepts.
func boundAddress(listener net.Listener) string {
	if listener.Addr().Network() == "unix" {
		return "unix:" + listener.Addr().String()
	}
	return listener.Addr().String()
}

// exitSignal is Kitex's default (SIGINT, SIGTERM and SIGHUP end Run gracefully), but already in force before "ready" is
// printed; Kitex itself starts to listen for signals a little after.
func exitSignal() chan error {
	exit := make(chan error, 4)
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	go func() {
		for range signals {
			exit <- nil
		}
	}()
	return exit
}

// countInto counts the calls whose handler returned, whatever it returned.
func countInto(handled *atomic.Int64) endpoint.Middleware {
	return func(next endpoint.Endpoint) endpoint.Endpoint {
		return func(ctx context.Context, request, response any) error {
			defer handled.Add(1)
			return next(ctx, request, response)
		}
	}
}

// obey answers the lines on stdin: "stats" with an event of that name, "stop" like SIGTERM.
func obey(followStdin bool, handled *atomic.Int64, exit chan<- error) {
	for line := range stdinLines() {
		switch line {
		case "stats":
			emit(statsEvent("stats", handled))
		case "stop":
			exit <- nil
		default:
			emit(map[string]any{"event": "error", "text": fmt.Sprintf("unknown line %q; known: stats, stop", line)})
		}
	}
	if followStdin {
		exit <- nil
	}
}

func statsEvent(event string, handled *atomic.Int64) map[string]any {
	usage := usageNow()
	return map[string]any{
		"event":         event,
		"cpu_seconds":   usage.CPUSeconds,
		"max_rss_bytes": usage.MaxRSSBytes,
		"handled":       handled.Load(),
	}
}
