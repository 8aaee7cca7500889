package orders

// MaxRules is the highest version of the rules that this program knows.
const MaxRules uint32 = 1
