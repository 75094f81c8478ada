package sys

import (
	"testing"
	"unsafe"
)

// TestAFDLayouts compares the layouts of the Go structures with those of C, on 64-bit and
// on 32-bit Windows.
func TestAFDLayouts(t *testing.T) {
	const is64 = ptrBytes == 8
	var (
		iosb IOStatusBlock
		info AFDPollInfo
		poll AFDPoll
		ent  OverlappedEntry
	)
	for _, c := range []struct {
		what       string
		got        uintptr
		on64, on32 uintptr
	}{
		{"sizeof IO_STATUS_BLOCK", unsafe.Sizeof(iosb), 16, 8},
		{"IO_STATUS_BLOCK.Status", unsafe.Offsetof(iosb.Status), 0, 0},
		{"IO_STATUS_BLOCK.Information", unsafe.Offsetof(iosb.Information), 8, 4},
		{"AFD_POLL_INFO.Timeout", unsafe.Offsetof(info.Timeout), 0, 0},
		{"AFD_POLL_INFO.NumberOfHandles", unsafe.Offsetof(info.NumberOfHandles), 8, 8},
		{"AFD_POLL_INFO.Exclusive", unsafe.Offsetof(info.Exclusive), 12, 12},
		{"AFD_POLL_INFO.Handles[0].Handle", unsafe.Offsetof(info.Handle), 16, 16},
		{"AFD_POLL_INFO.Handles[0].PollEvents", unsafe.Offsetof(info.Events), 24, 20},
		{"AFD_POLL_INFO.Handles[0].Status", unsafe.Offsetof(info.Status), 28, 24},
		{"sizeof AFD_POLL_INFO, as Go has it", unsafe.Sizeof(info), 32, 28},
		{"sizeof OVERLAPPED_ENTRY", unsafe.Sizeof(ent), 32, 16},
		{"OVERLAPPED_ENTRY.lpOverlapped", unsafe.Offsetof(ent.Overlapped), 8, 4},
		{"OVERLAPPED_ENTRY.Internal", unsafe.Offsetof(ent.Internal), 16, 8},
		{"OVERLAPPED_ENTRY.dwNumberOfBytesTransferred", unsafe.Offsetof(ent.Bytes), 24, 12},
	} {
		want := c.on32
		if is64 {
			want = c.on64
		}
		if c.got != want {
			t.Errorf("%s: %d, want %d", c.what, c.got, want)
		}
	}
	if end := unsafe.Offsetof(poll.AFDPollInfo) + AFDPollInfoBytes; end > unsafe.Sizeof(poll) {
		t.Errorf("AFDPoll has %d bytes; the driver may write up to %d", unsafe.Sizeof(poll), end)
	}
	if s := unsafe.Sizeof(poll); s > PollSlotBytes {
		t.Errorf("AFDPoll has %d bytes, a slot %d", s, PollSlotBytes)
	}
}
