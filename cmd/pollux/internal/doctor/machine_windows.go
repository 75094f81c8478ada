package doctor

import (
	"fmt"
	"strconv"
	"unsafe"

	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/registry"

	"github.com/pollux-io/pollux/internal/sys"
)

const (
	// maxHandles is documented for 64-bit Windows; on 32-bit Windows there are far
	// fewer, limited by memory ("Kernel Objects" in Microsoft's reference).
	maxHandles = 1 << 24

	// The local ports of outgoing connections, from Windows Vista on, unless changed by
	// netsh.
	defaultFirstPort, defaultPorts = 49152, lastPort - 49152 + 1

	tcpipKey = `SYSTEM\CurrentControlSet\Services\Tcpip\Parameters`
)

// thisMachine has no files: Windows has none of Linux's, and the files that a program sees
// under Wine have the limits of the host system.
func thisMachine() machine {
	m := machine{files: noFiles{}, notes: notes}
	m.total, m.available = physicalMemory()
	if strconv.IntSize == 64 {
		m.limits = append(m.limits, Limit{handles, []int64{maxHandles}, "handles that this process may have; fixed, and memory may run out before"})
	}
	if seconds, ok := timedWaitDelay(); ok {
		m.limits = append(m.limits, Limit{timedWait, []int64{seconds}, "seconds that a closed connection keeps its local port"})
	}
	return m
}

// notes returns the notes about settings for which Windows has no call.
func notes(connections int) []Note {
	list := []Note{
		{
			"dynamic ports",
			fmt.Sprintf("each outgoing connection to the same address and port uses a local port; "+
				"there are %d, from %d, unless that was changed", defaultPorts, defaultFirstPort),
			[]string{"netsh int ipv4 show dynamicport tcp", "netsh int ipv6 show dynamicport tcp"},
		},
		{
			"TIME_WAIT",
			"the side that closes a connection first keeps its local port for some more minutes; " + timedWait + " sets the time in seconds",
			[]string{`reg query HKLM\` + tcpipKey + ` /v ` + timedWait},
		},
	}
	if connections > defaultPorts {
		list[0].Commands = append(list[0].Commands, fmt.Sprintf(
			"netsh int ipv4 set dynamicport tcp start=%d num=%d   # as administrator; ipv6 likewise", firstPort+1, lastPort-firstPort))
	}
	if sys.OnWine() {
		list = append(list, Note{
			"Wine", "this is Wine: sockets and descriptors are those of the host system, whose limits apply", []string{},
		})
	}
	return list
}

func kernel() string {
	v := windows.RtlGetVersion()
	s := fmt.Sprintf("Windows NT %d.%d.%d", v.MajorVersion, v.MinorVersion, v.BuildNumber)
	if sys.OnWine() {
		s += " (Wine)"
	}
	return s
}

// memoryStatus is MEMORYSTATUSEX.
type memoryStatus struct {
	length, load                     uint32
	totalPhysical, availablePhysical uint64
	_                                [5]uint64 // page file, address space
}

// physicalMemory returns zeros if Windows returns an error.
func physicalMemory() (total, available int64) {
	var s memoryStatus
	s.length = uint32(unsafe.Sizeof(s))
	proc := windows.NewLazySystemDLL("kernel32.dll").NewProc("GlobalMemoryStatusEx")
	if ok, _, _ := proc.Call(uintptr(unsafe.Pointer(&s))); ok == 0 {
		return 0, 0
	}
	return clamp(s.totalPhysical), clamp(s.availablePhysical)
}

// timedWaitDelay reads the value that an administrator has set; by default the registry has no such value.
func timedWaitDelay() (seconds int64, ok bool) {
	k, err := registry.OpenKey(registry.LOCAL_MACHINE, tcpipKey, registry.QUERY_VALUE)
	if err != nil {
		return 0, false
	}
	defer k.Close()
	v, _, err := k.GetIntegerValue(timedWait)
	return clamp(v), err == nil
}
