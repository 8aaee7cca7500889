package node

import "os"

// boardMemory is the memory that this process may use, in bytes; 0 if unknown.
func boardMemory() int64 { return availableMemory(os.DirFS("/")) }
