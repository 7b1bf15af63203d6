package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"elanus.test/kitexpeer/kitex_gen/interop"
	interopservice "elanus.test/kitexpeer/kitex_gen/interop/interop"
	"github.com/bytedance/gopkg/cloud/metainfo"
	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/client/callopt"
	"github.com/cloudwego/kitex/pkg/rpcinfo"
	"github.com/cloudwego/kitex/pkg/transmeta"
	"github.com/cloudwego/kitex/transport"
)

// deadlineReport says what the handler that owns ctx knows of its time.
func deadlineReport(ctx context.Context) *interop.DeadlineReport {
	report := &interop.DeadlineReport{RpcTimeoutMs: rpcinfo.GetRPCInfo(ctx).Config().RPCTimeout().Milliseconds()}
	if deadline, ok := ctx.Deadline(); ok {
		report.HasDeadline = true
		report.RemainingMs = time.Until(deadline).Milliseconds()
	}
	return report
}

// metadataReport says what the handler that owns ctx sees of its call, and queues the backward values asked for.
func metadataReport(ctx context.Context, request *interop.MetadataRequest) *interop.MetadataReport {
	for key, value := range request.Backward {
		metainfo.SendBackwardValue(ctx, key, value)
	}
	info := rpcinfo.GetRPCInfo(ctx)
	seen := headersFrom(ctx)
	integers := make(map[int32]string, len(seen.Ints))
	for key, value := range seen.Ints {
		integers[int32(key)] = value
	}
	return &interop.MetadataReport{
		TransientValues:  metainfo.GetAllValues(ctx),
		PersistentValues: metainfo.GetAllPersistentValues(ctx),
		CallerService:    info.From().ServiceName(),
		CallerMethod:     info.From().Method(),
		CalleeService:    info.To().ServiceName(),
		IdlService:       info.Invocation().ServiceName(),
		IdlMethod:        info.Invocation().MethodName(),
		StringHeaders:    seen.Strings,
		IntHeaders:       integers,
		Framing:          framingName(info.Config().TransportProtocol()),
		SequenceId:       info.Invocation().SeqID(),
		Deadline:         deadlineReport(ctx),
	}
}

// onwardClients makes a server's own calls to further peers, one client an address, as a service in a chain would.
type onwardClients struct {
	name string

	mutex   sync.Mutex
	clients map[string]interopservice.Client
}

func (o *onwardClients) to(address string) (interopservice.Client, error) {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	if existing, ok := o.clients[address]; ok {
		return existing, nil
	}
	targets, err := addresses(address)
	if err != nil {
		return nil, err
	}
	created, err := interopservice.NewClient(defaultServiceName,
		client.WithHostPorts(targets...),
		client.WithTransportProtocol(transport.TTHeader),
		client.WithMetaHandler(transmeta.ClientTTHeaderHandler),
		client.WithClientBasicInfo(&rpcinfo.EndpointBasicInfo{ServiceName: o.name}),
		// Kitex's own 50 ms is too little on a machine that runs a whole test suite.
		client.WithConnectTimeout(2*time.Second),
	)
	if err != nil {
		return nil, err
	}
	if o.clients == nil {
		o.clients = map[string]interopservice.Client{}
	}
	o.clients[address] = created
	return created, nil
}

// metadata asks the peer at address what it sees of a call made with the handler's ctx.
func (o *onwardClients) metadata(ctx context.Context, address string, request *interop.MetadataRequest) (*interop.ForwardReport, error) {
	peer, err := o.to(address)
	if err != nil {
		return nil, err
	}
	var options []callopt.Option
	if request.GetTimeoutMs() > 0 {
		options = append(options, callopt.WithRPCTimeout(time.Duration(request.GetTimeoutMs())*time.Millisecond))
	}
	ctx = metainfo.WithBackwardValues(ctx)
	seen, err := peer.Metadata(ctx, request, options...)
	if err != nil {
		return nil, fmt.Errorf("forward to %s: %w", address, err)
	}
	return &interop.ForwardReport{Seen: seen, Backward: metainfo.RecvAllBackwardValues(ctx)}, nil
}
