package conformance

// limitsOf returns the limits of a backend on this system: a poll of AFD completes a moment after
// its source has become ready.
func limitsOf(string) Limits { return Limits{ReportsLate: true} }
