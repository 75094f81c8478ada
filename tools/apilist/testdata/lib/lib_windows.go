package lib

const OnlyWindows = true

func Differs(handle uintptr) {}
