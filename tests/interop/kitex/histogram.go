package main

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// A histogram's buckets divide each power of two of nanoseconds into subBuckets, so that a percentile is right to 0.8 %.
const (
	subBucketBits = 7
	subBuckets    = 1 << subBucketBits
	buckets       = (64 - subBucketBits) * subBuckets
)

// histogram counts durations in fixed memory: a list of a million samples would show in the measured process's size.
type histogram struct {
	counts [buckets]atomic.Int64
	total  atomic.Int64
	sum    atomic.Int64
}

func (h *histogram) add(elapsed time.Duration) {
	h.counts[bucketOf(uint64(elapsed))].Add(1)
	h.total.Add(1)
	h.sum.Add(int64(elapsed))
}

func bucketOf(nanoseconds uint64) int {
	exponent := bits.Len64(nanoseconds >> subBucketBits)
	if exponent == 0 {
		return int(nanoseconds)
	}
	// The highest subBucketBits+1 bits select the bucket; the first of them is always one.
	return exponent*subBuckets + int(nanoseconds>>(exponent-1)) - subBuckets
}

// bucketStart is the smallest duration of a bucket: bucketOf the other way round.
func bucketStart(bucket int) time.Duration {
	exponent := bucket / subBuckets
	if exponent == 0 {
		return time.Duration(bucket)
	}
	return time.Duration(bucket%subBuckets+subBuckets) << (exponent - 1)
}

// percentile gives the duration below which that share (0 to 1) of the samples lies.
func (h *histogram) percentile(share float64) time.Duration {
	rank := int64(share * float64(h.total.Load()))
	var seen int64
	for bucket := range h.counts {
		if seen += h.counts[bucket].Load(); seen > rank {
			return bucketStart(bucket)
		}
	}
	return 0
}

func (h *histogram) mean() time.Duration {
	if total := h.total.Load(); total > 0 {
		return time.Duration(h.sum.Load() / total)
	}
	return 0
}
