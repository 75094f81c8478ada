package sys

const abstractNames = true

func setFamily(a *rawUnix, family, _ int) { a.Family = uint16(family) }
