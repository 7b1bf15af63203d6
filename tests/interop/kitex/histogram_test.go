package main

import (
	"testing"
	"time"
)

func TestBucketsAreMonotonicAndContainTheirStart(t *testing.T) {
	for bucket := range buckets - subBuckets {
		if found := bucketOf(uint64(bucketStart(bucket))); found != bucket {
			t.Fatalf("bucket %d starts at %d ns, which falls into bucket %d", bucket, bucketStart(bucket), found)
		}
		if bucketStart(bucket+1) <= bucketStart(bucket) {
			t.Fatalf("bucket %d does not start before the next", bucket)
		}
	}
}

func TestPercentilesOfKnownSamples(t *testing.T) {
	var samples histogram
	for microseconds := 1; microseconds <= 1000; microseconds++ {
		samples.add(time.Duration(microseconds) * time.Microsecond)
	}
	for share, want := range map[float64]time.Duration{0.5: 501 * time.Microsecond, 0.99: 991 * time.Microsecond} {
		got := samples.percentile(share)
		if difference := (got - want).Abs(); difference > want/100 {
			t.Errorf("percentile %v is %v, not within 1%% of %v", share, got, want)
		}
	}
	if mean := samples.mean(); mean != 500500*time.Nanosecond {
		t.Errorf("mean is %v", mean)
	}
}
