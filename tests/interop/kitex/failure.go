package main

import (
	"context"
	"errors"
	"strings"

	"github.com/cloudwego/kitex/pkg/kerrors"
	"github.com/cloudwego/kitex/pkg/remote"
)

// What kind of failure a call met; the tests branch on these words.
const (
	kindCommand   = "command"   // the line on stdin was wrong; nothing was called
	kindBiz       = "biz"       // a business status error
	kindDeclared  = "declared"  // an exception from the method's throws
	kindException = "exception" // an EXCEPTION message (or what Kitex takes for one: a reply that it cannot read)
	kindTimeout   = "timeout"
	kindCanceled  = "canceled"
	kindDial      = "dial"    // no connection: nothing was sent
	kindNetwork   = "network" // the connection failed or was closed during the call
	kindOther     = "other"
)

// failure is a call's error in JSON; text is Kitex's own, whole.
type failure struct {
	Kind string `json:"kind"`
	Text string `json:"text"`
	// exception: the type id and text that came over the wire.
	TypeID  *int32 `json:"type_id,omitempty"`
	Message string `json:"message,omitempty"`
	// biz
	BizCode    *int32            `json:"biz_code,omitempty"`
	BizMessage string            `json:"biz_message,omitempty"`
	BizExtra   map[string]string `json:"biz_extra,omitempty"`
	// declared: the exception's Go type, the name of its throws field, and itself.
	Type  string `json:"type,omitempty"`
	Field string `json:"field,omitempty"`
	Value any    `json:"value,omitempty"`
}

func commandFailure(err error) *failure {
	return &failure{Kind: kindCommand, Text: err.Error()}
}

func failureOf(err error) *failure {
	if status, ok := kerrors.FromBizStatusError(err); ok {
		code := status.BizStatusCode()
		return &failure{
			Kind: kindBiz, Text: err.Error(),
			BizCode: &code, BizMessage: status.BizMessage(), BizExtra: status.BizExtra(),
		}
	}
	described := &failure{Kind: kindOf(err), Text: err.Error()}
	var exception *remote.TransError
	if errors.As(err, &exception) {
		id := exception.TypeID()
		described.TypeID, described.Message = &id, exception.Error()
	}
	return described
}

func kindOf(err error) string {
	switch {
	case errors.Is(err, kerrors.ErrGetConnection):
		return kindDial
	case errors.Is(err, kerrors.ErrCanceledByBusiness), errors.Is(err, context.Canceled):
		return kindCanceled
	case kerrors.IsTimeoutError(err):
		return kindTimeout
	case strings.HasPrefix(err.Error(), "remote or network error[remote"):
		// Kitex marks only by this text that the peer, not the network, reported the error.
		return kindException
	case errors.Is(err, kerrors.ErrRemoteOrNetwork):
		return kindNetwork
	}
	return kindOther
}
