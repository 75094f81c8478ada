package conformance

// Pipes cannot be watched on Windows: Pipe stays nil.
func addSystem(s *System) { s.RegularFile = regularFile }
