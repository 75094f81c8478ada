package sys

const (
	documentedSize  = 40
	documentedData  = 24
	documentedUdata = 32
)

var documented = layout{documentedSize, 0, 8, 12, 16, documentedData, documentedUdata}
