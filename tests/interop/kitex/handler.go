package main

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"elanus.test/kitexpeer/kitex_gen/interop"
	"elanus.test/kitexpeer/kitex_gen/shared"
	"github.com/bytedance/gopkg/cloud/metainfo"
	"github.com/cloudwego/kitex/pkg/kerrors"
	"github.com/cloudwego/kitex/pkg/remote"
	"github.com/cloudwego/kitex/pkg/retry"
)

// interopHandler implements Interop as idl/interop.thrift describes it. Kitex wants a pointer.
type interopHandler struct {
	onward *onwardClients

	mutex  sync.Mutex
	tokens []string
	// attempts holds the mark of a retry of every attempt, by the token of flaky.
	attempts map[string][]string
}

func (h *interopHandler) Version(context.Context) (string, error) {
	return shared.PEER_PROTOCOL, nil
}

func (h *interopHandler) Echo(_ context.Context, request *interop.Request) (*interop.Response, error) {
	return &interop.Response{Message: request.Message, Payload: request.Payload}, nil
}

func (h *interopHandler) AllTypes(_ context.Context, value *interop.AllTypes) (*interop.AllTypes, error) {
	return value, nil
}

func (h *interopHandler) Nested(_ context.Context, value *interop.Nested) (*interop.Nested, error) {
	return value, nil
}

func (h *interopHandler) Defaults(_ context.Context, value *interop.Defaults) (*interop.Defaults, error) {
	return value, nil
}

func (h *interopHandler) FreshDefaults(context.Context) (*interop.Defaults, error) {
	return interop.NewDefaults(), nil
}

func (h *interopHandler) Stamp(_ context.Context, value *shared.Stamp) (*shared.Stamp, error) {
	return value, nil
}

func (h *interopHandler) Choose(_ context.Context, value *interop.Choice) (*interop.Choice, error) {
	return value, nil
}

func (h *interopHandler) Ping(context.Context) error {
	return nil
}

func (h *interopHandler) MultiArgs_(_ context.Context, a int32, b string, c []int64) (*interop.Triple, error) {
	return &interop.Triple{A: a, B: b, C: c}, nil
}

func (h *interopHandler) Nothing(context.Context) (*interop.Response, error) {
	return nil, nil
}

func (h *interopHandler) Refuse(_ context.Context, kind, text string) (*interop.Response, error) {
	if err := refusal(kind, text); err != nil {
		return nil, err
	}
	return &interop.Response{Message: text}, nil
}

func (h *interopHandler) Check(_ context.Context, kind, text string) error {
	return refusal(kind, text)
}

func refusal(kind, text string) error {
	switch kind {
	case "not_found":
		return &interop.NotFound{Text: text}
	case "conflict":
		return &interop.Conflict{Code: 409, Text: text, Details: []string{"a", "b"}}
	}
	return nil
}

func (h *interopHandler) Fail(_ context.Context, text string) (*interop.Response, error) {
	return nil, errors.New(text)
}

func (h *interopHandler) FailWithCode(_ context.Context, typeID int32, text string) (*interop.Response, error) {
	return nil, remote.NewTransErrorWithMsg(typeID, text)
}

func (h *interopHandler) Panic(_ context.Context, text string) (*interop.Response, error) {
	panic(text)
}

func (h *interopHandler) BizStatus(_ context.Context, code int32, message string, extra map[string]string) (*interop.Response, error) {
	if len(extra) == 0 {
		return nil, kerrors.NewBizStatusError(code, message)
	}
	return nil, kerrors.NewBizStatusErrorWithExtra(code, message, extra)
}

func (h *interopHandler) Fire(_ context.Context, token string, delayMs int32) error {
	time.Sleep(time.Duration(delayMs) * time.Millisecond)
	h.mutex.Lock()
	defer h.mutex.Unlock()
	h.tokens = append(h.tokens, token)
	return nil
}

func (h *interopHandler) Fired(_ context.Context, prefix string) ([]string, error) {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	matching := []string{}
	for _, token := range h.tokens {
		if strings.HasPrefix(token, prefix) {
			matching = append(matching, token)
		}
	}
	return matching, nil
}

func (h *interopHandler) Sleep(_ context.Context, milliseconds int32, token string) (string, error) {
	time.Sleep(time.Duration(milliseconds) * time.Millisecond)
	return token, nil
}

func (h *interopHandler) Flaky(ctx context.Context, token string, unwell, delayMs int32) (*interop.AttemptReport, error) {
	mark, _ := metainfo.GetPersistentValue(ctx, retry.TransitKey)
	h.mutex.Lock()
	if h.attempts == nil {
		h.attempts = map[string][]string{}
	}
	h.attempts[token] = append(h.attempts[token], mark)
	marks := append([]string{}, h.attempts[token]...)
	h.mutex.Unlock()
	if len(marks) <= int(unwell) {
		if delayMs == 0 {
			return nil, errors.New("not yet")
		}
		time.Sleep(time.Duration(delayMs) * time.Millisecond)
	}
	return &interop.AttemptReport{Marks: marks, Retried: retry.IsRemoteRetryRequest(ctx)}, nil
}

func (h *interopHandler) Deadline(ctx context.Context) (*interop.DeadlineReport, error) {
	return deadlineReport(ctx), nil
}

func (h *interopHandler) Metadata(ctx context.Context, request *interop.MetadataRequest) (*interop.MetadataReport, error) {
	return metadataReport(ctx, request), nil
}

func (h *interopHandler) Forward(ctx context.Context, address string, request *interop.MetadataRequest) (*interop.ForwardReport, error) {
	return h.onward.metadata(ctx, address, request)
}

func (h *interopHandler) Who(context.Context) (string, error) {
	return "Interop", nil
}

// otherHandler implements Other.
type otherHandler struct{}

func (h *otherHandler) Who(context.Context) (string, error) {
	return "Other", nil
}

func (h *otherHandler) OtherEcho(_ context.Context, request *interop.Request) (*interop.Response, error) {
	return &interop.Response{Message: "other: " + request.Message, Payload: request.Payload}, nil
}
