package main

import (
	"context"
	"maps"
	"sync"

	"github.com/cloudwego/kitex/pkg/remote"
)

// headers are the TTHeader keys of one message, copied: Kitex clears its own maps for the next message.
type headers struct {
	Strings map[string]string
	Ints    map[uint16]string
}

func headersOf(message remote.Message) headers {
	info := message.TransInfo()
	return headers{Strings: maps.Clone(info.TransStrInfo()), Ints: maps.Clone(info.TransIntInfo())}
}

type seenKey struct{}

// headersFrom gives the request headers that seenByServer put into a handler's context.
func headersFrom(ctx context.Context) headers {
	seen, _ := ctx.Value(seenKey{}).(headers)
	return seen
}

// seenByServer keeps a request's headers for its handler; Kitex gives handlers only those it understands.
func seenByServer() remote.MetaHandler {
	return remote.NewCustomMetaHandler(remote.WithReadMeta(
		func(ctx context.Context, message remote.Message) (context.Context, error) {
			return context.WithValue(ctx, seenKey{}, headersOf(message)), nil
		}))
}

// replySlot receives the headers of one reply. It is locked because a reply may arrive after its call timed out.
type replySlot struct {
	sync.Mutex
	headers headers
}

func (s *replySlot) take() headers {
	s.Lock()
	defer s.Unlock()
	return s.headers
}

type slotKey struct{}

// seenByClient puts a reply's headers into the slot that the call's context carries.
func seenByClient() remote.MetaHandler {
	return remote.NewCustomMetaHandler(remote.WithReadMeta(
		func(ctx context.Context, message remote.Message) (context.Context, error) {
			if slot, ok := ctx.Value(slotKey{}).(*replySlot); ok {
				slot.Lock()
				slot.headers = headersOf(message)
				slot.Unlock()
			}
			return ctx, nil
		}))
}
