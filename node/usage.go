package node

import "runtime/metrics"

// runtimeMemory is what Go's runtime holds of the system's memory, in bytes:
// near the resident size, without what the system has taken back.
func runtimeMemory() int64 {
	sample := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(sample)
	for _, s := range sample {
		if s.Value.Kind() != metrics.KindUint64 {
			return 0
		}
	}
	return int64(sample[0].Value.Uint64() - sample[1].Value.Uint64())
}
