package simtest

func (w *world) sendDatagram(int) {}
