package main

import (
	"context"
	"errors"
	"flag"
	"strings"

	"elanus.test/kitexpeer/kitex_gen/interop"
	"github.com/cloudwego/kitex/pkg/kerrors"
	"github.com/cloudwego/kitex/pkg/limit"
	"github.com/cloudwego/kitex/pkg/remote"
	"github.com/cloudwego/kitex/pkg/utils"
	"github.com/cloudwego/kitex/server"
)

// governing are the flags of a server that refuses calls and maps errors, as the tests' elanus server does.
type governing struct {
	forbid         bool
	mapErrors      bool
	maxQPS         int
	maxConnections int
}

func (g *governing) addTo(flags *flag.FlagSet) {
	flags.BoolVar(&g.forbid, "forbid", false, "an ACL rule refuses echo with the message \"forbidden\" (WithACLRules)")
	flags.BoolVar(&g.mapErrors, "map-errors", false, "errors whose text begins with \"map\" are replaced (WithErrorHandler)")
	flags.IntVar(&g.maxQPS, "max-qps", 0, "calls a second (WithLimit); 0: no limit")
	flags.IntVar(&g.maxConnections, "max-connections", 0, "connections (WithLimit); 0: no limit")
}

func (g *governing) options() []server.Option {
	var options []server.Option
	if g.forbid {
		options = append(options, server.WithACLRules(forbid))
	}
	if g.mapErrors {
		options = append(options, server.WithErrorHandler(mapError))
	}
	if g.maxQPS > 0 || g.maxConnections > 0 {
		options = append(options, server.WithLimit(&limit.Option{MaxQPS: g.maxQPS, MaxConnections: g.maxConnections}))
	}
	return options
}

func forbid(_ context.Context, arguments any) error {
	if args, ok := arguments.(utils.KitexArgs); ok {
		if request, ok := args.GetFirstArgument().(*interop.Request); ok && request.Message == "forbidden" {
			return errors.New("no " + request.Message)
		}
	}
	return nil
}

func mapError(_ context.Context, err error) error {
	switch {
	case strings.Contains(err.Error(), "map to code"):
		return remote.NewTransErrorWithMsg(1900, "mapped")
	case strings.Contains(err.Error(), "map to status"):
		return kerrors.NewBizStatusError(1900, "mapped")
	case strings.Contains(err.Error(), "map to text"):
		return errors.New("mapped")
	}
	return err
}
