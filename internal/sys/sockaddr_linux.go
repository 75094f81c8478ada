package sys

const abstractNames = true

// terminator is the length of the zero byte at the end of a path. On Linux it may be left
// out if it does not fit (unix(7), bugs).
const terminator = 0

func setFamily(a *rawUnix, family, _ int) { a.Family = uint16(family) }
