package sys

const (
	documentedSize  = 56
	documentedData  = 12
	documentedUdata = 20
)

var documented = layout{documentedSize, 0, 4, 6, 8, documentedData, documentedUdata}
