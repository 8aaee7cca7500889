package orders

// MaxRules is the highest version of the rules that this program knows.
const MaxRules uint32 = 2

// restoreRules is the version from which a backup can be restored.
const restoreRules = 2
