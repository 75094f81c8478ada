// Package part is in a folder of a folder.
package part

import "example.org/lib"

type Uses struct{ Level lib.Level }

func Get() *lib.Hidden { return nil }
