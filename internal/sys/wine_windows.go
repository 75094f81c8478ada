package sys

// OnWine reports whether the system is Wine, for tests and for doctor. Code that depends
// on a difference between Wine and Windows describes it.
func OnWine() bool { return ntdll.NewProc("wine_get_version").Find() == nil }
