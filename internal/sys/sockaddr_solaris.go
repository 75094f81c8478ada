package sys

const abstractNames = false

// terminator is the length of the zero byte at the end of a path.
const terminator = 1

func setFamily(a *rawUnix, family, _ int) { a.Family = uint16(family) }
