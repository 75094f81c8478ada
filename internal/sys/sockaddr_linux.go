package sys

const abstractNames = true

// terminator is the zero byte at the end of a path, which may be left out here if there is
// no room for it (unix(7), bugs).
const terminator = 0

func setFamily(a *rawUnix, family, _ int) { a.Family = uint16(family) }
