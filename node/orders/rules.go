package orders

// MaxRules is the highest version of the rules that this program knows.
const MaxRules uint32 = 2

// RestoreRules is the version from which a backup can be restored.
const RestoreRules = 2
