package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"

	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/pkg/discovery"
	"github.com/cloudwego/kitex/pkg/registry"
	"github.com/cloudwego/kitex/server"
	consul "github.com/kitex-contrib/registry-consul"
	etcd "github.com/kitex-contrib/registry-etcd"
)

// registryKinds are the values of --registry and --resolver.
const registryKinds = "etcd|consul"

// announcing are the flags of a server that registers itself.
type announcing struct {
	kind    string
	address string
	weight  int
	tags    string
}

func (a *announcing) addTo(flags *flag.FlagSet) {
	flags.StringVar(&a.kind, "registry", "", "register in "+registryKinds)
	flags.StringVar(&a.address, "registry-address", "", "where the registry answers")
	flags.IntVar(&a.weight, "weight", 0, "weight to register with; 0 leaves Kitex's 10")
	flags.StringVar(&a.tags, "tags", "", "tags to register with, as a JSON object of texts")
}

func (a *announcing) options() ([]server.Option, error) {
	if a.kind == "" {
		return nil, nil
	}
	made, err := newRegistry(a.kind, a.address)
	if err != nil {
		return nil, err
	}
	info := &registry.Info{Weight: a.weight}
	if a.tags != "" {
		if err := json.Unmarshal([]byte(a.tags), &info.Tags); err != nil {
			return nil, fmt.Errorf("--tags: %w", err)
		}
	}
	return []server.Option{server.WithRegistry(made), server.WithRegistryInfo(info)}, nil
}

func newRegistry(kind, address string) (registry.Registry, error) {
	switch kind {
	case "etcd":
		return etcd.NewEtcdRegistry(strings.Split(address, ","))
	case "consul":
		return consul.NewConsulRegister(address)
	}
	return nil, fmt.Errorf("--registry %q is none of %s", kind, registryKinds)
}

// resolving are the flags of a client that looks its servers up.
type resolving struct {
	kind    string
	address string
}

func (r *resolving) addTo(flags *flag.FlagSet) {
	flags.StringVar(&r.kind, "resolver", "", "find servers in "+registryKinds+" instead of at --address")
	flags.StringVar(&r.address, "registry-address", "", "where the registry answers")
}

// options names the servers: a resolver, or the addresses that were given.
func (r *resolving) options(list string) ([]client.Option, error) {
	if r.kind == "" {
		targets, err := addresses(list)
		return []client.Option{client.WithHostPorts(targets...)}, err
	}
	if list != "" {
		return nil, fmt.Errorf("--address and --resolver exclude each other")
	}
	made, err := newResolver(r.kind, r.address)
	return []client.Option{client.WithResolver(made)}, err
}

func newResolver(kind, address string) (discovery.Resolver, error) {
	switch kind {
	case "etcd":
		return etcd.NewEtcdResolver(strings.Split(address, ","))
	case "consul":
		return consul.NewConsulResolver(address)
	}
	return nil, fmt.Errorf("--resolver %q is none of %s", kind, registryKinds)
}

// runResolve answers each name on stdin with the instances that Kitex's resolver sees, or with its error.
func runResolve(arguments []string) error {
	var resolving resolving
	flags := newFlags("resolve")
	resolving.addTo(flags)
	if err := parse(flags, arguments); err != nil {
		return err
	}
	resolver, err := newResolver(resolving.kind, resolving.address)
	if err != nil {
		return err
	}
	emit(map[string]any{"event": "ready", "pid": os.Getpid()})
	for name := range stdinLines() {
		result, err := resolver.Resolve(context.Background(), name)
		event := map[string]any{"event": "resolved", "instances": seenInstances(result.Instances)}
		if err != nil {
			event["error"] = err.Error()
		}
		emit(event)
	}
	return nil
}

func seenInstances(instances []discovery.Instance) []map[string]any {
	seen := make([]map[string]any, 0, len(instances))
	for _, instance := range instances {
		seen = append(seen, map[string]any{
			"network": instance.Address().Network(),
			"address": instance.Address().String(),
			"weight":  instance.Weight(),
			"tags":    tagsOf(instance),
		})
	}
	return seen
}

// tagsOf gives all tags: the interface shows only those that one asks for by name, Kitex's own type has this method.
func tagsOf(instance discovery.Instance) map[string]string {
	if whole, ok := instance.(interface{ Tags() map[string]string }); ok {
		return whole.Tags()
	}
	return nil
}
