package ready

import (
	"testing"

	"github.com/pollux-io/pollux/internal/driver"
)

// What is released while turns fail is told of: a loop whose driver has failed ends with that.
func TestReleasedWhileTurnsFail(t *testing.T) {
	d, err := Open(driver.Config{ScratchBytes: 4096, BudgetBytes: 4096})
	if err != nil {
		t.Fatal(err)
	}
	d.q.Close()
	if err := d.Turn(0); err == nil {
		t.Fatal("a turn over a Poll that is closed")
	}
	var released told
	d.Release(&driver.Stream{Up: &released})
	for range 3 {
		d.Turn(0)
	}
	if released != 1 {
		t.Errorf("Released came %d times", released)
	}
}

// told counts Released.
type told int

func (u *told) Received([]byte) bool { return true }
func (u *told) Connected(error)      {}
func (u *told) ReceiveEnded(error)   {}
func (u *told) Failed(error)         {}
func (u *told) Sent(int, error)      {}
func (u *told) Released()            { *u++ }
