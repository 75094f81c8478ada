package save

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

// remove removes a file of root. Wine 8 lacks FileDispositionInformationEx, which Go
// uses for it, and returns an error for which Go does not fall back to the
// older call. Opening for deletion needs neither, and does not leave root.
func remove(root *os.Root, name string) error {
	err := root.Remove(name)
	if !errors.Is(err, windows.ERROR_INVALID_FUNCTION) {
		return err
	}
	f, err := root.OpenFile(name, os.O_RDONLY|windows.O_FILE_FLAG_DELETE_ON_CLOSE|windows.O_FILE_FLAG_OPEN_REPARSE_POINT, 0)
	if err != nil {
		return err
	}
	return f.Close()
}
