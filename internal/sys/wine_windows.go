package sys

// OnWine reports whether the system is Wine, for tests and for doctor. Wine differs
// from Windows in places, each of which is named where it matters.
func OnWine() bool { return ntdll.NewProc("wine_get_version").Find() == nil }
