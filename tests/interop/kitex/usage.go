package main

import (
	"runtime"
	"runtime/debug"
	"syscall"
	"time"
)

// processUsage is what the kernel says this process has consumed so far.
type processUsage struct {
	CPUSeconds  float64 `json:"cpu_seconds"`
	MaxRSSBytes int64   `json:"max_rss_bytes"`
}

func usageNow() processUsage {
	var usage syscall.Rusage
	// RUSAGE_SELF with a valid pointer cannot fail.
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	return processUsage{
		CPUSeconds: seconds(usage.Utime) + seconds(usage.Stime),
		// Linux counts ru_maxrss in KiB, macOS in bytes.
		MaxRSSBytes: maxRSSBytes(int64(usage.Maxrss)),
	}
}

func seconds(value syscall.Timeval) float64 {
	return (time.Duration(value.Sec)*time.Second + time.Duration(value.Usec)*time.Microsecond).Seconds()
}

func maxRSSBytes(maxRSS int64) int64 {
	if runtime.GOOS == "darwin" {
		return maxRSS
	}
	return maxRSS * 1024
}

func runVersion(arguments []string) error {
	if err := parse(newFlags("version"), arguments); err != nil {
		return err
	}
	version := "unknown"
	if build, ok := debug.ReadBuildInfo(); ok {
		for _, module := range build.Deps {
			if module.Path == "github.com/cloudwego/kitex" {
				version = module.Version
			}
		}
	}
	emit(map[string]any{"event": "version", "kitex": version, "go": runtime.Version()})
	return nil
}
