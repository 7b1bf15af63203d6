package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"sync"
	"time"

	interopservice "elanus.test/kitexpeer/kitex_gen/interop/interop"
	otherservice "elanus.test/kitexpeer/kitex_gen/interop/other"
	"github.com/bytedance/gopkg/cloud/metainfo"
	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/client/callopt"
	"github.com/cloudwego/kitex/pkg/retry"
	"github.com/cloudwego/kitex/pkg/serviceinfo"
)

// undeclaredMethod can be called through every client here, with echo's arguments, and is declared by no IDL: it shows
// what a server answers to a method that it does not have.
const undeclaredMethod = "no_such_method"

// command is one line on stdin: one call.
type command struct {
	ID      json.RawMessage `json:"id"`
	Method  string          `json:"method"`
	Args    json.RawMessage `json:"args"`
	Service string          `json:"service"`
	// ServiceName, when set, replaces the IDL service name that the client sends (TTHeader's isn key).
	ServiceName      string `json:"service_name"`
	TimeoutMs        int    `json:"timeout_ms"`
	ConnectTimeoutMs int    `json:"connect_timeout_ms"`
	CancelAfterMs    int    `json:"cancel_after_ms"`
	// Retries are those of Kitex's failure policy; with BackupMs, of its backup policy.
	Retries    int               `json:"retries"`
	BackupMs   int               `json:"backup_ms"`
	Address    string            `json:"address"`
	Transient  map[string]string `json:"transient"`
	Persistent map[string]string `json:"persistent"`
}

// answer is one line on stdout: what became of the call.
type answer struct {
	ID            json.RawMessage   `json:"id"`
	Result        any               `json:"result"`
	Error         *failure          `json:"error,omitempty"`
	Backward      map[string]string `json:"backward"`
	StringHeaders map[string]string `json:"string_headers"`
	IntHeaders    map[uint16]string `json:"int_headers"`
	ElapsedUs     int64             `json:"elapsed_us"`
}

func runClient(arguments []string) error {
	flags := newFlags("client")
	var connecting connecting
	connecting.addTo(flags, "ttheader")
	concurrent := flags.Bool("concurrent", false, "start each call at once instead of after the one before it")
	if err := parse(flags, arguments); err != nil {
		return err
	}
	options, err := connecting.options()
	if err != nil {
		return err
	}
	driver := &driver{destination: connecting.destinationName, options: options, clients: map[clientKey]client.Client{}}
	emit(map[string]any{"event": "ready", "pid": os.Getpid()})

	var running sync.WaitGroup
	for line := range stdinLines() {
		if !*concurrent {
			driver.obey(line)
			continue
		}
		running.Add(1)
		go func() {
			defer running.Done()
			driver.obey(line)
		}()
	}
	running.Wait()
	return nil
}

// clientKey tells apart the Kitex clients of one process: each is made for one service under one name.
type clientKey struct{ service, name string }

type driver struct {
	destination string
	options     []client.Option

	mutex   sync.Mutex
	clients map[clientKey]client.Client
}

// obey makes the call that a line asks for, and answers it in any case: the test at the other end waits for its id.
func (d *driver) obey(line string) {
	var wanted command
	decoder := json.NewDecoder(bytes.NewReader([]byte(line)))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&wanted); err != nil {
		_ = tryEmit(answer{ID: wanted.ID, Error: commandFailure(err)})
		return
	}
	if err := tryEmit(d.call(&wanted)); err != nil {
		_ = tryEmit(answer{ID: wanted.ID, Error: &failure{Kind: kindOther, Text: err.Error()}})
	}
}

func (d *driver) call(wanted *command) answer {
	info, err := serviceInfo(wanted.Service, wanted.ServiceName)
	if err != nil {
		return answer{ID: wanted.ID, Error: commandFailure(err)}
	}
	method, ok := info.Methods[wanted.Method]
	if !ok {
		return answer{ID: wanted.ID, Error: commandFailure(fmt.Errorf("%s has no method %q", info.ServiceName, wanted.Method))}
	}
	request := method.NewArgs()
	if err = fillArguments(request, wanted.Args); err != nil {
		return answer{ID: wanted.ID, Error: commandFailure(err)}
	}
	caller, err := d.client(info)
	if err != nil {
		return answer{ID: wanted.ID, Error: commandFailure(err)}
	}
	slot := &replySlot{}
	ctx, cancel := callContext(wanted, slot)
	defer cancel()

	// The generated clients do just this, with the types written out.
	var response any
	if !method.OneWay() {
		response = method.NewResult()
	}
	started := time.Now()
	err = caller.Call(ctx, wanted.Method, request, response)
	reply := answer{ID: wanted.ID, ElapsedUs: time.Since(started).Microseconds(), Backward: backwardOf(ctx)}
	seen := slot.take()
	reply.StringHeaders, reply.IntHeaders = seen.Strings, seen.Ints
	if err != nil {
		// response may still be written to by a call that timed out, so it is not looked at.
		reply.Error = failureOf(err)
		return reply
	}
	reply.Result, reply.Error = outcomeOf(response)
	return reply
}

// backwardOf gives what the server sent back; an empty map, not null, when that is nothing.
func backwardOf(ctx context.Context) map[string]string {
	if values := metainfo.RecvAllBackwardValues(ctx); values != nil {
		return values
	}
	return map[string]string{}
}

// client gives the Kitex client for a service, made at its first call.
func (d *driver) client(info *serviceinfo.ServiceInfo) (client.Client, error) {
	key := clientKey{service: fmt.Sprintf("%T", info.HandlerType), name: info.ServiceName}
	d.mutex.Lock()
	defer d.mutex.Unlock()
	if existing, ok := d.clients[key]; ok {
		return existing, nil
	}
	options := append([]client.Option{client.WithDestService(d.destination)}, d.options...)
	created, err := client.NewClient(info, options...)
	if err == nil {
		d.clients[key] = created
	}
	return created, err
}

// serviceInfo gives what Kitex generated for a service, with undeclaredMethod added and, if asked, under another name.
func serviceInfo(service, name string) (*serviceinfo.ServiceInfo, error) {
	var info *serviceinfo.ServiceInfo
	var lender string
	switch service {
	case "", "Interop":
		info, lender = interopservice.NewServiceInfo(), "echo"
	case "Other":
		info, lender = otherservice.NewServiceInfo(), "other_echo"
	default:
		return nil, fmt.Errorf("service %q is neither Interop nor Other", service)
	}
	// NewServiceInfo makes a new map each time, so nothing of the generated package changes.
	info.Methods[undeclaredMethod] = info.Methods[lender]
	if name != "" {
		info.ServiceName = name
	}
	return info, nil
}

func retryPolicy(wanted *command) retry.Policy {
	if wanted.BackupMs > 0 {
		policy := retry.NewBackupPolicy(uint32(wanted.BackupMs))
		policy.WithMaxRetryTimes(wanted.Retries)
		return retry.BuildBackupRequest(policy)
	}
	policy := retry.NewFailurePolicy()
	policy.WithMaxRetryTimes(wanted.Retries)
	return retry.BuildFailurePolicy(policy)
}

// callContext carries what one call has of its own: metadata, options, the slot for its reply's headers.
func callContext(wanted *command, slot *replySlot) (context.Context, context.CancelFunc) {
	ctx := context.WithValue(context.Background(), slotKey{}, slot)
	ctx = metainfo.WithBackwardValues(ctx)
	for key, value := range wanted.Transient {
		ctx = metainfo.WithValue(ctx, key, value)
	}
	for key, value := range wanted.Persistent {
		ctx = metainfo.WithPersistentValue(ctx, key, value)
	}
	var options []callopt.Option
	if wanted.TimeoutMs > 0 {
		options = append(options, callopt.WithRPCTimeout(time.Duration(wanted.TimeoutMs)*time.Millisecond))
	}
	if wanted.ConnectTimeoutMs > 0 {
		options = append(options, callopt.WithConnectTimeout(time.Duration(wanted.ConnectTimeoutMs)*time.Millisecond))
	}
	if wanted.Address != "" {
		options = append(options, callopt.WithHostPort(wanted.Address))
	}
	if wanted.Retries > 0 {
		options = append(options, callopt.WithRetryPolicy(retryPolicy(wanted)))
	}
	if len(options) > 0 {
		ctx = client.NewCtxWithCallOptions(ctx, options)
	}
	if wanted.CancelAfterMs > 0 {
		// Not WithTimeout: this is a caller that changes its mind, not one whose deadline passes.
		cancelled, cancel := context.WithCancel(ctx)
		time.AfterFunc(time.Duration(wanted.CancelAfterMs)*time.Millisecond, cancel)
		return cancelled, cancel
	}
	return ctx, func() {}
}
