package main

import (
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/pkg/connpool"
	"github.com/cloudwego/kitex/pkg/remote"
	"github.com/cloudwego/kitex/pkg/remote/codec"
	"github.com/cloudwego/kitex/transport"
)

// framings are the values of --transport.
const framings = "buffered|framed|ttheader-unframed|ttheader|ttheaderframed|mux"

// framingOptions selects what a client puts around its messages.
//
// A thrift client of Kitex v0.16 starts with Framed, and WithTransportProtocol ORs its bits onto that. So TTHeader
// alone puts TTHeader and a frame on the wire; PurePayload first clears the bits and gives TTHeader without a frame.
func framingOptions(name string, muxConnections int) ([]client.Option, error) {
	bits := func(protocols ...transport.Protocol) (options []client.Option) {
		for _, protocol := range protocols {
			options = append(options, client.WithTransportProtocol(protocol))
		}
		return options
	}
	switch name {
	case "buffered":
		return bits(transport.PurePayload), nil
	case "framed":
		return bits(transport.Framed), nil
	case "ttheader-unframed":
		return bits(transport.PurePayload, transport.TTHeader), nil
	case "ttheader":
		return bits(transport.TTHeader), nil
	case "ttheaderframed":
		return bits(transport.TTHeaderFramed), nil
	case "mux":
		return []client.Option{client.WithMuxConnection(muxConnections)}, nil
	}
	return nil, fmt.Errorf("--transport %q is none of %s", name, framings)
}

// framingName names what a message arrived in, the other way round.
func framingName(protocol transport.Protocol) string {
	framed := protocol&transport.Framed == transport.Framed
	switch {
	case protocol&transport.TTHeader == transport.TTHeader && framed:
		return "ttheader-framed"
	case protocol&transport.TTHeader == transport.TTHeader:
		return "ttheader-unframed"
	case framed:
		return "framed"
	}
	return "buffered"
}

// longPool keeps as many idle connections as there are workers: Kitex's default of 10 an address would have most
// workers of a busy client dial anew for each call.
func longPool(connections int) client.Option {
	return client.WithLongConnection(connpool.IdleConfig{
		MaxIdlePerAddress: connections,
		MaxIdleGlobal:     1 << 20,
		MaxIdleTimeout:    time.Minute,
	})
}

// checksumCodec is Kitex's codec with its CRC-32C payload check on: written on every TTHeader message, verified where present.
func checksumCodec() remote.Codec {
	return codec.NewDefaultCodecWithConfig(codec.CodecConfig{CRC32Check: true})
}

// addresses splits a comma-separated list; a peer at one of them must be on this machine.
func addresses(list string) ([]string, error) {
	if list == "" {
		return nil, fmt.Errorf("--address is missing")
	}
	all := strings.Split(list, ",")
	for index, address := range all {
		all[index] = strings.TrimPrefix(address, "unix:")
		if _, _, err := localAddress(address); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// localAddress gives the network and address of "127.0.0.1:8888", "[::1]:8888", "localhost:8888" or "unix:/path".
// Anything that leaves this machine is refused: the peer has no authentication and obeys every caller.
func localAddress(text string) (network, address string, err error) {
	if path, isUnix := strings.CutPrefix(text, "unix:"); isUnix {
		return "unix", path, nil
	}
	host, _, err := net.SplitHostPort(text)
	if err != nil {
		return "", "", err
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return "", "", fmt.Errorf("address %q is not on the loopback interface", text)
	}
	return "tcp", text, nil
}
