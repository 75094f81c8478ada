//go:build !386

package sys

const (
	documentedSize  = 64
	documentedData  = 16
	documentedUdata = 24
)

var documented = layout{documentedSize, 0, 8, 10, 12, documentedData, documentedUdata}
