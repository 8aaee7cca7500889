package host

import (
	"runtime/metrics"
	"time"
)

// Usage is the CPU time and memory that this process has used.
type Usage struct {
	CPU         time.Duration // user and system time since the start
	MemoryBytes int64         // resident
}

// runtimeMemory returns the memory that Go's runtime holds, in bytes. It is close
// to the resident size and excludes memory that the runtime has returned to the system.
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
