package ready

import (
	"testing"

	"github.com/pollux-io/pollux/internal/driver"
)

// Released comes for streams that are released while turns fail, so that a loop whose driver has
// failed can end.
func TestReleasedWhileTurnsFail(t *testing.T) {
	d, err := OpenDefault(driver.Config{ScratchBytes: 4096, BudgetBytes: 4096})
	if err != nil {
		t.Fatal(err)
	}
	d.q.Close()
	if err := d.Turn(0); err == nil {
		t.Fatal("Turn succeeded on a closed Poll")
	}
	var released releasedCount
	d.Release(&driver.Stream{Up: &released})
	for range 3 {
		d.Turn(0)
	}
	if released != 1 {
		t.Errorf("Released came %d times, want once", released)
	}
}

// releasedCount counts calls of Released.
type releasedCount int

func (u *releasedCount) Received([]byte) bool { return true }
func (u *releasedCount) Connected(error)      {}
func (u *releasedCount) ReceiveEnded(error)   {}
func (u *releasedCount) Failed(error)         {}
func (u *releasedCount) Sent(int, error)      {}
func (u *releasedCount) Released()            { *u++ }
