package main

import (
	"flag"
	"time"

	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/pkg/rpcinfo"
	"github.com/cloudwego/kitex/pkg/transmeta"
)

// connecting are the flags of everything here that calls Interop.
type connecting struct {
	address          string
	transport        string
	muxConnections   int
	crc32c           bool
	short            bool
	long             int
	name             string
	destinationName  string
	connectTimeoutMs int
	timeoutMs        int
	noMetaHandlers   bool
	resolving        resolving
}

func (c *connecting) addTo(flags *flag.FlagSet, transport string) {
	flags.StringVar(&c.address, "address", "", "one or more addresses, comma-separated; unix:/path for a unix socket")
	flags.StringVar(&c.transport, "transport", transport, framings)
	flags.IntVar(&c.muxConnections, "mux-connections", 1, "connections of --transport mux")
	flags.BoolVar(&c.crc32c, "crc32c", false, "write payload checksums, verify those that come")
	flags.BoolVar(&c.short, "short", false, "a connection for each call")
	flags.IntVar(&c.long, "long", 10, "keep that many idle connections an address (not with --short or mux)")
	flags.StringVar(&c.name, "name", defaultCallerName, "the caller's own service name")
	flags.StringVar(&c.destinationName, "dest-name", defaultServiceName, "destination service name")
	flags.IntVar(&c.connectTimeoutMs, "connect-timeout-ms", 2000, "0 leaves Kitex's 50 ms, which is then not on the wire")
	flags.IntVar(&c.timeoutMs, "timeout-ms", 0, "RPC timeout of every call; 0 sets none")
	flags.BoolVar(&c.noMetaHandlers, "no-meta-handlers", false, "leave ClientTTHeaderHandler out")
	c.resolving.addTo(flags)
}

func (c *connecting) options() ([]client.Option, error) {
	servers, err := c.resolving.options(c.address)
	if err != nil {
		return nil, err
	}
	options, err := framingOptions(c.transport, c.muxConnections)
	if err != nil {
		return nil, err
	}
	options = append(options, servers...)
	options = append(options,
		client.WithClientBasicInfo(&rpcinfo.EndpointBasicInfo{ServiceName: c.name}),
		client.WithMetaHandler(seenByClient()))
	if !c.noMetaHandlers {
		options = append(options, client.WithMetaHandler(transmeta.ClientTTHeaderHandler))
	}
	if c.crc32c {
		options = append(options, client.WithCodec(checksumCodec()))
	}
	if c.connectTimeoutMs > 0 {
		options = append(options, client.WithConnectTimeout(time.Duration(c.connectTimeoutMs)*time.Millisecond))
	}
	if c.timeoutMs > 0 {
		options = append(options, client.WithRPCTimeout(time.Duration(c.timeoutMs)*time.Millisecond))
	}
	switch {
	case c.transport == "mux":
		// A mux client has its own pool.
	case c.short:
		options = append(options, client.WithShortConnection())
	default:
		options = append(options, longPool(c.long))
	}
	return options, nil
}
