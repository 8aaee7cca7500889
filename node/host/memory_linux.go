package host

import "os"

// totalMemory returns the memory that this process may use, in bytes; 0 if unknown.
func totalMemory() int64 { return availableMemory(os.DirFS("/")) }
